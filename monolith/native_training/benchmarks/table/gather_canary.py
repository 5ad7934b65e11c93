"""A canary for work that waits for memory: a random gather of rows."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable

import numpy as np

_DIM = 32
_BATCH = 65_536
_BATCHES = 100


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
