"""A fixed piece of work, to notice when somebody else uses the machine."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import time
from collections.abc import Callable

_BLOCK = bytes(1 << 20)
_BLOCKS = 400
# A quiet machine repeats hashing to a few per cent.
_TOLERANCE = 1.1


def _hash_song() -> None:
  """Works on all cores for about half a second."""
  cores = len(os.sched_getaffinity(0))
  with concurrent.futures.ThreadPoolExecutor(cores) as pool:
    list(pool.map(_work, range(cores)))


class Canary:
  """Does the same work whenever asked, and remembers the fastest time.

  Args:
    song: the work; by default, half a second of hashing on all cores.
    tolerance: how many times as long as the fastest an undisturbed song may take.
  """

  def __init__(
    self, song: Callable[[], object] = _hash_song, tolerance: float = _TOLERANCE
  ):
    self._song = song
    self._tolerance = tolerance
    self._fastest = float("inf")

  def sing(self) -> float:
    """Works, and returns how many seconds it took."""
    begin = time.monotonic()
    self._song()
    seconds = time.monotonic() - begin
    self._fastest = min(self._fastest, seconds)
    return seconds

  def is_disturbed(self, *seconds: float) -> bool:
    """Whether any of the songs took longer than an undisturbed one would have."""
    return max(seconds) > self._tolerance * self._fastest


def _work(_: int) -> None:
  digest = hashlib.blake2b()
  for _ in range(_BLOCKS):
    digest.update(_BLOCK)  # Releases the interpreter's lock.
