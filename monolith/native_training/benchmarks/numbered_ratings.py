"""The movie-ranking ratings with users and movies numbered from 0.

What a model with `tf.Variable` embeddings needs: the 63-bit ids of the data become
rows 0 to n-1. That happens once, before training, so that it costs such a model
nothing; the batches are then made by the same code as the movie-ranking model's.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from monolith.core.hyperparams import Params
from monolith.native_training.movie_ranking import rating_batches, synthetic_ratings
from monolith.native_training.movie_ranking.movie_ranking_model import SYNTHETIC
from monolith.native_training.movie_ranking.rating_table import (
  RatingTable,
  load_rating_table,
)


@dataclasses.dataclass(frozen=True)
class NumberedRatings:
  """Ratings whose ids are row numbers.

  Attributes:
    params: of the `MovieRankingModel` whose data these are.
    num_users, num_movies: how many rows the ids need.
    table: the ratings; None for synthetic ones, which are generated on the way.
  """

  params: Params
  num_users: int
  num_movies: int
  table: RatingTable | None

  @classmethod
  def load(cls, params: Params) -> NumberedRatings:
    """The ratings that a `MovieRankingModel` of these parameters trains on."""
    if params.dataset == SYNTHETIC:
      return cls(
        params, synthetic_ratings.NUM_USERS, synthetic_ratings.NUM_MOVIES, None
      )
    table = load_rating_table(params.dataset, params.ratings_dir)
    users, movies = _distinct(table, "users"), _distinct(table, "movies")
    return cls(
      params,
      len(users),
      len(movies),
      _replace_ids(
        table, lambda u: np.searchsorted(users, u), lambda m: np.searchsorted(movies, m)
      ),
    )

  def hashed(self, rows_per_id: float) -> NumberedRatings:
    """The same ratings with ids hashed into fewer rows, where some ids collide.

    Args:
      rows_per_id: size of the hashed space; 1 gives as many rows as there are ids.

    Raises:
      ValueError: the ratings are synthetic.
    """
    if self.table is None:
      raise ValueError("synthetic ratings cannot be hashed into fewer rows")
    num_users = max(int(self.num_users * rows_per_id), 1)
    num_movies = max(int(self.num_movies * rows_per_id), 1)
    # A random number for each id is what a hash of it would be.
    rng = np.random.default_rng([self.params.seed])
    user_rows = rng.integers(num_users, size=self.num_users)
    movie_rows = rng.integers(num_movies, size=self.num_movies)
    table = _replace_ids(self.table, lambda u: user_rows[u], lambda m: movie_rows[m])
    return NumberedRatings(self.params, num_users, num_movies, table)

  def training_batches(self, num_workers: int = 1, worker: int = 0) -> tf.data.Dataset:
    """Like `MovieRankingModel.input_fn`, with dense ids: int64 `[batch, 1]`."""
    p = self.params
    batch_size = p.train.per_replica_batch_size
    if self.table is None:
      source = synthetic_ratings.SyntheticRatings(p.num_ratings, p.seed)
      batches = rating_batches.synthetic_training_batches(
        source, batch_size, p.epochs, num_workers, worker
      )
    else:
      batches = rating_batches.training_batches(
        self.table.train, batch_size, p.epochs, p.seed, num_workers, worker
      )
    return batches.prefetch(tf.data.AUTOTUNE)

  def held_out_batches(self) -> tf.data.Dataset:
    """The ratings to test on, in the form of `training_batches`."""
    p = self.params
    batch_size = p.eval.per_replica_batch_size
    if self.table is None:
      source = synthetic_ratings.SyntheticRatings(p.num_ratings, p.seed)
      return rating_batches.synthetic_held_out_batches(source, batch_size)
    return rating_batches.held_out_batches(self.table.test, batch_size)


def _distinct(table: RatingTable, column: str) -> np.ndarray:
  both = [getattr(split, column) for split in (table.train, table.test)]
  return np.unique(np.concatenate(both))


def _replace_ids(table: RatingTable, user_row, movie_row) -> RatingTable:
  def replaced(columns):
    return columns._replace(
      users=user_row(columns.users).astype(np.int64),
      movies=movie_row(columns.movies).astype(np.int64),
    )

  return table._replace(train=replaced(table.train), test=replaced(table.test))
