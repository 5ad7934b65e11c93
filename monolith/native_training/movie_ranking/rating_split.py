"""Which ratings are held out for testing: one in ten, by hash of (user, movie)."""

from __future__ import annotations

import numpy as np

HELD_OUT_SHARE = 0.1
_HELD_OUT_BELOW = np.uint64(int(HELD_OUT_SHARE * 2**64))


def is_held_out(users: np.ndarray, movies: np.ndarray) -> np.ndarray:
  """Whether each (user, movie) pair belongs to the test split.

  A pure function of the pair: the same on every machine, in every order and
  whatever else is in the data.

  Args:
    users: int64 `[n]`, ids of any range.
    movies: int64 `[n]`.

  Returns:
    bool `[n]`, true for about a tenth.
  """
  mixed = _mix(users.astype(np.uint64)) + movies.astype(np.uint64)
  return _mix(mixed) < _HELD_OUT_BELOW


def _mix(values: np.ndarray) -> np.ndarray:
  """The finalizer of SplitMix64 (Steele, Lea, Flood 2014), a bijection."""
  values = values + np.uint64(0x9E3779B97F4A7C15)
  values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return values ^ (values >> np.uint64(31))
