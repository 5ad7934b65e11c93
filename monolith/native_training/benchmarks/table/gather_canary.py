"""A canary for work that waits for memory: a random gather of rows."""

from __future__ import annotations

import concurrent.futures
import statistics
from collections.abc import Callable, Sequence

import numpy as np

_DIM = 32
_BATCH = 65_536
_BATCHES = 100

# Of normally distributed songs one in 300 is farther above the median than so many
# times the distance between median and lower quartile.
_DISTANCES = 4
# One more busy thread makes a song 1.5 times as long on two cores that are in use
# already. So much of it is needed to notice that.
_TOO_LONG = 0.9 * 1.5


def longest_undisturbed(songs: Sequence[float]) -> float:
  """How long a song may take while nobody else uses the machine.

  A gather waits for memory, which neighbours of a virtual machine share, so songs of a
  quiet machine vary by tens of per cent, and by more on one machine than on another: it
  is the run's own songs that tell. Others only make songs longer. Below the median
  there is thus the machine's own variation alone, and above it a song may be as much
  longer as such variation explains. Where half of the run was disturbed the median is
  too; therefore what one more busy thread would make of the lower quartile is too long
  in any case.

  Args:
    songs: the seconds of all songs of a run, at least 2.
  """
  lower, median, _ = statistics.quantiles(songs, n=4, method="inclusive")
  return min(median + _DISTANCES * (median - lower), _TOO_LONG * lower)


def gather_song(threads: int, rows: int = 2_000_000) -> Callable[[], None]:
  """The fixed work of a `Canary`.

  Args:
    threads: that gather at the same time.
    rows: of 128 bytes; the default is more than any cache holds.
  """
  random = np.random.default_rng(0)
  table = np.ones((rows, _DIM), np.float32)
  numbers = random.integers(0, rows, (threads, _BATCH))
  gathered = np.empty((threads, _BATCH, _DIM), np.float32)
  pool = concurrent.futures.ThreadPoolExecutor(threads)

  def gather(thread: int) -> None:
    for _ in range(_BATCHES):
      # Without the mode NumPy gathers into a buffer first.
      np.take(table, numbers[thread], axis=0, out=gathered[thread], mode="clip")

  return lambda: list(pool.map(gather, range(threads)))
