"""What every table under test is fed with: ids, rows, batches, and what must come out.

Rows are numbered; the n-th id is a mixed n, so that ids are spread over all of int64.
Everything follows from the sizes and the seed, in any process. NumPy only.
"""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np

LEARNING_RATE = 0.05
INITIAL_ACCUMULATOR = 0.1

_BATCHES = 16  # Different ones, taken in turn.
_ZIPF_EXPONENT = 1.05
_PRIME = 2_654_435_761


@dataclasses.dataclass(frozen=True)
class Workload:
  """Sizes of a run.

  Attributes:
    ids: how many rows there are.
    dim: float32 numbers of a row.
    batch: ids of a call.
    seed: of the batches.
  """

  ids: int
  dim: int
  batch: int
  seed: int = 0

  def id_of(self, numbers: np.ndarray) -> np.ndarray:
    """The ids of rows, int64 as `numbers`; all different (the mixer of SplitMix64)."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).astype(np.int64)

  def row_of(self, numbers: np.ndarray) -> np.ndarray:
    """The rows before any training, float32 `[n, dim]` in [-0.5, 0.5)."""
    columns = 7 * np.arange(self.dim, dtype=np.int32)
    numbers = (numbers % 1024).astype(np.int32)
    return ((31 * numbers[:, None] + columns) & 1023).astype(np.float32) / 1024 - 0.5

  def fill_batches(self) -> list[np.ndarray]:
    """All numbers once, in batches, int64."""
    order = np.arange(self.ids, dtype=np.int64)
    return [order[i : i + self.batch] for i in range(0, self.ids, self.batch)]

  def uniform_batches(self) -> list[np.ndarray]:
    """Numbers of rows, each int64 `[batch]`, every row as likely."""
    random = np.random.default_rng([self.seed, 1])
    return [random.integers(0, self.ids, self.batch) for _ in range(_BATCHES)]

  def zipf_batches(self) -> list[np.ndarray]:
    """Numbers of rows, each int64 `[batch]`, the r-th likeliest as r^-1.05."""
    random = np.random.default_rng([self.seed, 2])
    ranks = np.arange(1, self.ids + 1, dtype=np.float64)
    distribution = np.cumsum(ranks**-_ZIPF_EXPONENT)
    batches = []
    for _ in range(_BATCHES):
      drawn = random.random(self.batch) * distribution[-1]
      rank = np.minimum(np.searchsorted(distribution, drawn), self.ids - 1)
      # Frequent rows are not neighbours.
      batches.append(rank.astype(np.int64) * _PRIME % self.ids)
    return batches

  def gradients(self) -> np.ndarray:
    """Gradients of one batch, float32 `[batch, dim]`, small multiples of 1/1024."""
    random = np.random.default_rng([self.seed, 3])
    whole = random.integers(-32, 33, (self.batch, self.dim), dtype=np.int64)
    return whole.astype(np.float32) / 1024

  def rows_after_adagrad(self, numbers: np.ndarray, gradients: np.ndarray):
    """What one update makes of untrained rows: the gradients of a row are summed.

    Args:
      numbers: int64 `[n]`, repeated ones too.
      gradients: float32 `[n, dim]`.

    Returns:
      float64 `[n, dim]`: row i is the new row of `numbers[i]`.
    """
    unique, inverse = np.unique(numbers, return_inverse=True)
    sums = np.zeros((len(unique), self.dim))
    np.add.at(sums, inverse, gradients)
    steps = sums / np.sqrt(INITIAL_ACCUMULATOR + sums**2)
    return (self.row_of(unique) - LEARNING_RATE * steps)[inverse]

  def fingerprint(self) -> int:
    """Equal in two processes that feed the same data."""
    code = 0
    for batch in [*self.uniform_batches(), *self.zipf_batches(), self.gradients()]:
      code = zlib.crc32(batch.tobytes(), code)
    return code
