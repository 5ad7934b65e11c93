"""Ctrl-C and its relatives as something to ask for, not to be surprised by."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
  """The user or the system wants this process to end.

  Attributes:
    signum: how it was told.
    is_urgent: returns whether it was told again since.
  """

  def __init__(self, signum: int, is_urgent: Callable[[], bool] = lambda: False):
    super().__init__(f"stopped by {signal.Signals(signum).name}")
    self.signum = signum
    self.is_urgent = is_urgent


class StopSignals:
  """While entered, SIGINT, SIGTERM and SIGHUP are only remembered. Main thread only.

  Nothing is interrupted midway, so that cleaning up is never left half done; `check`
  has to be called often instead.
  """

  def __init__(self):
    self._received: int | None = None
    self._count = 0

  def __enter__(self) -> StopSignals:
    self._before = {
      signum: signal.signal(signum, self._remember) for signum in _SIGNALS
    }
    return self

  def __exit__(self, *exception) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def check(self) -> None:
    """Raises `Stopped` if one of the signals has come."""
    if self._received is not None:
      raise Stopped(self._received, lambda: self._count > 1)

  def _remember(self, signum: int, frame: FrameType | None) -> None:
    del frame
    self._received = self._received or signum
    self._count += 1
