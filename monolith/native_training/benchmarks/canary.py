"""A fixed piece of work, to notice when somebody else uses the machine."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import time
from collections.abc import Callable, Sequence

_BLOCK = bytes(1 << 20)
_BLOCKS = 400


def _hash_song() -> None:
  """Works on all cores for about half a second."""
  cores = len(os.sched_getaffinity(0))
  with concurrent.futures.ThreadPoolExecutor(cores) as pool:
    list(pool.map(_work, range(cores)))


def _longest_hash_song(songs: Sequence[float]) -> float:
  """A quiet machine repeats hashing to a few per cent."""
  return 1.1 * min(songs)


class Canary:
  """Does the same work whenever asked, and remembers how long it took.

  Args:
    song: the work; by default, half a second of hashing on all cores.
    longest_undisturbed: from the seconds of all songs so far, how long a song may take
      while nobody else uses the machine.
  """

  def __init__(
    self,
    song: Callable[[], object] = _hash_song,
    longest_undisturbed: Callable[[Sequence[float]], float] = _longest_hash_song,
  ):
    self._song = song
    self._longest_undisturbed = longest_undisturbed
    self._songs: list[float] = []

  @property
  def songs(self) -> list[float]:
    """The seconds of each song so far."""
    return list(self._songs)

  def sing(self) -> float:
    """Works, and returns how many seconds it took."""
    begin = time.monotonic()
    self._song()
    self._songs.append(time.monotonic() - begin)
    return self._songs[-1]

  def longest_undisturbed(self) -> float:
    """Seconds, as far as the songs until now tell."""
    return self._longest_undisturbed(self._songs)

  def is_disturbed(self, *seconds: float) -> bool:
    """Whether any of the songs took longer than an undisturbed one would have."""
    return max(seconds) > self.longest_undisturbed()


def _work(_: int) -> None:
  digest = hashlib.blake2b()
  for _ in range(_BLOCKS):
    digest.update(_BLOCK)  # Releases the interpreter's lock.
