"""Ends an export early, where the process has no more time for it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import tensorflow as tf

_POLL_SECS = 0.1


class ExportAbandonedError(Exception):
  """An export was ended early, because that was asked for. Nothing is left of it."""


class Abandonment:
  """Whether an export is to end.

  Args:
    is_asked_for: tells; called from any thread.
  """

  def __init__(self, is_asked_for: Callable[[], bool] = lambda: False):
    self._is_asked_for = is_asked_for

  def check(self) -> None:
    """Raises `ExportAbandonedError` where the export is to end."""
    if self._is_asked_for():
      raise ExportAbandonedError("the export was given up")

  def sleep(self, secs: float) -> None:
    """Waits; raises `ExportAbandonedError` where the export is to end."""
    end = time.monotonic() + secs
    while (left := end - time.monotonic()) > 0:
      self.check()
      time.sleep(min(left, _POLL_SECS))
    self.check()

  @contextlib.contextmanager
  def closes(self, session: tf.compat.v1.Session) -> Iterator[None]:
    """A context that closes a session, which ends what it runs, when that is asked
    for."""
    is_done = threading.Event()

    def watch() -> None:
      while not is_done.wait(_POLL_SECS):
        if self._is_asked_for():
          session.close()
          return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
      yield
    finally:
      is_done.set()
      watching.join()
