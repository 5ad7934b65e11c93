"""A fixed piece of CPU work, to notice when somebody else uses the machine."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import time

_BLOCK = bytes(1 << 20)
_BLOCKS = 400
# A quiet machine repeats the work to a few per cent.
_TOLERANCE = 1.1


class Canary:
  """Does the same work on all cores whenever asked, and remembers the fastest time."""

  def __init__(self):
    self._fastest = float("inf")

  def sing(self) -> float:
    """Works for about half a second, and returns how many seconds it took."""
    begin = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    with concurrent.futures.ThreadPoolExecutor(cores) as pool:
      list(pool.map(_work, range(cores)))
    seconds = time.monotonic() - begin
    self._fastest = min(self._fastest, seconds)
    return seconds

  def is_disturbed(self, *seconds: float) -> bool:
    """Whether any of the songs took longer than an undisturbed one would have."""
    return max(seconds) > _TOLERANCE * self._fastest


def _work(_: int) -> None:
  digest = hashlib.blake2b()
  for _ in range(_BLOCKS):
    digest.update(_BLOCK)  # Releases the interpreter's lock.
