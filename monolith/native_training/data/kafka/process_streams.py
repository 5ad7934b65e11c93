"""The streams of this process: those that a job is made of, and all when it ends."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import time
import weakref
from collections.abc import Iterator
from typing import Any, Protocol

_LEAVE_SECS = 0.1


class _Stream(Protocol):
  def interrupt(self) -> bool:
    """Ends an iteration where it is; returns whether one may be under way."""


_all: weakref.WeakSet[_Stream] = weakref.WeakSet()
_collected: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar(
  "streams", default=None
)


@contextlib.contextmanager
def collected() -> Iterator[list[Any]]:
  """The streams that are made in the context, for a job that trains on them."""
  streams: list[Any] = []
  token = _collected.set(streams)
  try:
    yield streams
  finally:
    _collected.reset(token)


def of_job() -> list[Any]:
  """Those that the job has so far which is being made, if any is."""
  return list(_collected.get() or ())


def add(stream: _Stream) -> None:
  """Notes a stream that was made."""
  _all.add(stream)
  streams = _collected.get()
  if streams is not None:
    streams.append(stream)


@atexit.register
def _interrupt_all() -> None:
  """Has threads that read leave Python before it ends: those that come back later end
  where they stand, and TensorFlow, which waits for them, would do so for ever."""
  if [stream for stream in list(_all) if stream.interrupt()]:
    time.sleep(_LEAVE_SECS)
