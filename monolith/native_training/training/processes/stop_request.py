"""SIGTERM as a request to leave in order: what is trained is saved before."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import NoReturn

from absl import logging

EXIT_CODE = 128 + signal.SIGTERM


class StopRequest:
  """Whether this process was asked to leave."""

  def __init__(self):
    self._event = threading.Event()

  def make(self) -> None:
    self._event.set()

  def is_made(self) -> bool:
    return self._event.is_set()

  def leave(self, how: str) -> NoReturn:
    """Ends this process, as one does that ends by SIGTERM, but in order.

    Args:
      how: what the log says of it.

    Raises:
      SystemExit: always.
    """
    logging.warning("SIGTERM: %s", how)
    raise SystemExit(EXIT_CODE)

  def leave_if_made(self, how: str = "this process leaves") -> None:
    """Leaves if that was asked for. For places where nothing is left to do."""
    if self.is_made():
      self.leave(how)


@contextlib.contextmanager
def on_sigterm() -> Iterator[StopRequest]:
  """Takes SIGTERM for a request as long as the context lasts; a second one ends the
  process at once. In a thread other than the main one nothing is asked for."""
  stop = StopRequest()
  if threading.current_thread() is not threading.main_thread():
    yield stop
    return
  # Python's own handlers wait until the main thread is back from C++, which may be
  # waiting for a server that is gone. Bytes in a pipe come at once.
  reading, writing = os.pipe()
  os.set_blocking(writing, False)
  before = signal.signal(signal.SIGTERM, lambda *_: None)
  wakeup_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
  listening = threading.Thread(
    target=_listen, args=(reading, wakeup_before, stop), daemon=True
  )
  listening.start()
  try:
    yield stop
  finally:
    signal.set_wakeup_fd(wakeup_before)
    signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
    os.close(writing)
    listening.join()
    os.close(reading)


def _listen(reading: int, forward_to: int, stop: StopRequest) -> None:
  """Reads the numbers of signals until the other end of the pipe is closed."""
  while numbers := os.read(reading, 64):
    for number in numbers:
      if number == signal.SIGTERM:
        if stop.is_made():
          os._exit(EXIT_CODE)
        stop.make()
    if forward_to >= 0:
      with contextlib.suppress(OSError):
        os.write(forward_to, numbers)
