"""Synthetic ratings of any number, for scale; they are no one's opinions.

Ids follow Zipf's law, ratings a latent-factor model with noise:

    rating = 3.5 + bias(user) + bias(movie) + <factors(user), factors(movie)> + noise

rounded to half stars between 0.5 and 5. Ratings come in chunks, and a chunk is a pure
function of (seed, index of the chunk): any process can generate any part, and memory
does not grow with the number of ratings.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

NUM_USERS = 162_541
NUM_MOVIES = 59_047
CHUNK = 1 << 15
_NUM_FACTORS = 8
_USER_EXPONENT = 0.6
_MOVIE_EXPONENT = 1.0
_BIAS_STDDEV = 0.4
# Standard deviation of the product of a user's and a movie's factors.
_TASTE_STDDEV = 0.5
_NOISE_STDDEV = 0.8


class RatingChunk(NamedTuple):
  """`users`, `movies`: int64 `[n]`, numbered from 0; `ratings`: float32 `[n]`."""

  users: np.ndarray
  movies: np.ndarray
  ratings: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Population:
  """Users or movies: what they like or are like, and how often each occurs."""

  ids: np.ndarray  # int64 [n], in order of frequency
  cumulative: np.ndarray  # float64 [n], of the frequencies; ends with 1
  biases: np.ndarray  # float32 [n]
  factors: np.ndarray  # float32 [n, _NUM_FACTORS]

  @classmethod
  def create(cls, rng: np.random.Generator, size: int, exponent: float) -> _Population:
    frequencies = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    cumulative = np.cumsum(frequencies)
    factors = rng.standard_normal((size, _NUM_FACTORS), dtype=np.float32)
    return cls(
      ids=rng.permutation(size),
      cumulative=cumulative / cumulative[-1],
      biases=_BIAS_STDDEV * rng.standard_normal(size, dtype=np.float32),
      factors=factors * np.float32(np.sqrt(_TASTE_STDDEV / np.sqrt(_NUM_FACTORS))),
    )

  def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
    """Ranks, 0 the most frequent: int64 `[n]`."""
    return np.searchsorted(self.cumulative, rng.random(n), side="right")


class SyntheticRatings:
  """`num_ratings` ratings that depend on nothing but `seed`. Thread-safe."""

  def __init__(self, num_ratings: int, seed: int = 0):
    if num_ratings < 1:
      raise ValueError(f"num_ratings must be at least 1, got {num_ratings}")
    self.num_ratings = num_ratings
    self.num_chunks = -(-num_ratings // CHUNK)
    self._seed = seed
    rng = np.random.default_rng([seed])
    self._users = _Population.create(rng, NUM_USERS, _USER_EXPONENT)
    self._movies = _Population.create(rng, NUM_MOVIES, _MOVIE_EXPONENT)

  def chunk(self, index: int) -> RatingChunk:
    """Generates one chunk: `CHUNK` ratings, the last one as many as are left.

    Args:
      index: from 0 up to `num_chunks`.

    Raises:
      IndexError: there is no such chunk.
    """
    if not 0 <= index < self.num_chunks:
      raise IndexError(f"chunk {index} of {self.num_chunks}")
    n = min(CHUNK, self.num_ratings - index * CHUNK)
    rng = np.random.default_rng([self._seed, index + 1])
    users, movies = self._users.draw(rng, n), self._movies.draw(rng, n)
    taste = np.einsum(
      "ij,ij->i", self._users.factors[users], self._movies.factors[movies]
    )
    noise = _NOISE_STDDEV * rng.standard_normal(n, dtype=np.float32)
    stars = 3.5 + self._users.biases[users] + self._movies.biases[movies] + taste
    ratings = np.clip(np.rint(2 * (stars + noise)) / 2, 0.5, 5.0)
    return RatingChunk(
      self._users.ids[users], self._movies.ids[movies], ratings.astype(np.float32)
    )
