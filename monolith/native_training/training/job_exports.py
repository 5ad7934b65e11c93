"""Exports of checkpoints that the chief has saved, beside training and saving."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
  StorageError,
)
from monolith.native_training.training.processes.server_question import SERVER_IS_AWAY

# With these training goes on. The checkpoint may be damaged by the time, or lack what
# the model has gained since.
_EXPORT_FAILS = (
  tf.errors.OpError,
  OSError,
  MemoryError,
  RuntimeError,
  DamagedCheckpointError,
  MisfitError,
)
# An export that takes longer than this may hang.
_LONG_SECS = 600.0
_TELL_AGAIN_SECS = 60.0
_POLL_SECS = 0.2
# What an export needs, that was asked to end, to remove what it has written.
_LEAVE_SECS = 15.0
_LATER = "export_saved_model() exports it, and so does training that begins with it"


Export = Callable[[str, Callable[[], bool]], object]


class JobExports:
  """Exports checkpoints in a thread, one after the other, so that no save waits for it.
  Of those that come while one is exported only the newest is.

  Args:
    export: called with the path of a checkpoint, and what tells when to give up; None
      where there is nothing to do.

  Attributes:
    is_on: whether there is.
  """

  def __init__(self, export: Export | None):
    self.is_on = export is not None
    self._export = export
    self._is_given_up = threading.Event()
    self._lock = threading.Lock()
    self._thread: threading.Thread | None = None
    self._running: str | None = None
    self._waiting: str | None = None
    self._failures: collections.deque[tuple[str, Exception]] = collections.deque()
    # Of the export that has ended last.
    self._last_failure: tuple[str, Exception] | None = None
    self._tell_at = 0.0
    self._begun_at = 0.0

  def offer(self, path: str) -> None:
    """Exports a checkpoint as soon as that can be. From any thread."""
    if self._export is None:
      return
    with self._lock:
      if self._running:
        self._waiting = path
        return
      thread = threading.Thread(
        target=self._run, args=(path,), name="monolith export", daemon=True
      )
      self._begin(path)
      try:
        thread.start()
      except RuntimeError as error:  # There are too many.
        self._begin(None)
        self._note(path, error)
      else:
        self._thread = thread

  def _begin(self, path: str | None) -> None:
    self._running, self._begun_at = path, time.monotonic()
    self._tell_at = self._begun_at + _LONG_SECS

  def _run(self, path: str) -> None:
    while path:
      self._note(path, self._error_of(path))
      with self._lock:
        path, self._waiting = self._waiting, None
        self._begin(path)

  def _note(self, path: str, error: Exception | None) -> None:
    self._last_failure = (path, error) if error else None
    if error:
      self._failures.append((path, error))

  def _error_of(self, path: str) -> Exception | None:
    """Exports a checkpoint; returns why it could not be exported."""
    try:
      self._export(path, self._is_given_up.is_set)
    # Not what it looks like: that needs no server, and no data.
    except (*SERVER_IS_AWAY, tf.errors.OutOfRangeError) as error:
      return StorageError(f"{type(error).__name__}: {error.message}")
    except Exception as error:
      return error
    return None

  def in_use(self) -> set[str]:
    """The checkpoints that must stay. From any thread."""
    with self._lock:
      return {path for path in (self._running, self._waiting) if path}

  def report(self) -> None:
    """Tells of exports that have failed, and again and again of one that may hang.

    Raises:
      Exception: a mistake, of the model for example.
    """
    while self._failures:
      path, error = self._failures.popleft()
      if not isinstance(error, _EXPORT_FAILS):
        raise error
      _tell(path, error, "TRAINING GOES ON, and the next checkpoint will be exported")
    self._tell_of_long_one()

  def _tell_of_long_one(self) -> None:
    path, now = self._running, time.monotonic()
    if path and now >= self._tell_at:
      self._tell_at = now + _TELL_AGAIN_SECS
      logging.error(
        "%s is NOT EXPORTED YET after %.0f min: storage may hang. Newer checkpoints "
        "are saved, but wait for it to be exported",
        path,
        (now - self._begun_at) / 60,
      )

  def finish(self, is_to_leave: Callable[[], bool] = lambda: False) -> None:
    """Waits until all is exported; for who has come to the end of the job.

    Args:
      is_to_leave: whether this process is asked to leave: then see `leave`.

    Raises:
      Exception: why the last checkpoint is not.
    """
    while self._thread and self._thread.is_alive():
      self._thread.join(_POLL_SECS)
      self._tell_of_long_one()
      if is_to_leave():
        self.leave()
        return
    if self._last_failure:
      path, error = self._last_failure
      _tell(path, error, _LATER)
      with contextlib.suppress(ValueError):
        self._failures.remove(self._last_failure)
      raise error
    self.report()

  def leave(self, secs: float | None = None) -> None:
    """Has an export given up, and waits for that, but not for long; raises nothing.

    Args:
      secs: for how long; default what it needs to remove what it has written.
    """
    self._is_given_up.set()
    if self._thread:
      self._thread.join(_LEAVE_SECS if secs is None else secs)
    if path := self._running:
      logging.warning(
        "%s is saved, but its export does not come to an end. %s", path, _LATER
      )
    while self._failures:
      _tell(*self._failures.popleft(), _LATER)


def _tell(path: str, error: Exception, goes_on: str) -> None:
  logging.error(
    "checkpoint %s is saved, but it is NOT EXPORTED: %s: %s. %s",
    path,
    type(error).__name__,
    error,
    goes_on,
    exc_info=None if isinstance(error, _EXPORT_FAILS) else error,
  )
