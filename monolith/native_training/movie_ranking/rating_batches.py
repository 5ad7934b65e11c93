"""Batches of ratings for training and testing, from columns or a generator.

Whatever the source, it is asked for *blocks* of some ten thousand ratings at a time,
and everything is done to whole blocks and batches. Nothing runs once a rating: a core
feeds over a million ratings a second.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monolith.native_training.movie_ranking.rating_split import is_held_out
from monolith.native_training.movie_ranking.rating_table import RatingColumns
from monolith.native_training.movie_ranking.synthetic_ratings import SyntheticRatings

# Returns users, movies, ratings of the block with the given number. The arrays are
# given away: TensorFlow does not copy them, and ops may write into them.
Block = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def training_batches(
  columns: RatingColumns,
  batch_size: int,
  epochs: int = 1,
  seed: int = 0,
  num_shards: int = 1,
  shard: int = 0,
) -> tf.data.Dataset:
  """One worker's share of the ratings, shuffled anew in every epoch.

  Args:
    columns: all ratings to train on.
    batch_size: ratings a batch; the remainder of the last epoch is left out.
    epochs: how often each rating comes.
    seed: of the order.
    num_shards: number of workers.
    shard: the worker, from 0.

  Returns:
    Elements `{"mov": int64 [batch, 1], "uid": int64 [batch, 1],
    "label": float32 [batch, 1]}`.
  """
  share = RatingColumns(*(np.array(c[shard::num_shards]) for c in columns))

  def shuffled(epoch: int) -> RatingColumns:
    rng = np.random.default_rng([seed, shard, int(epoch)])
    return share.take(rng.permutation(len(share.ratings)))

  return _batches(shuffled, tf.data.Dataset.range(epochs), batch_size, True)


def held_out_batches(columns: RatingColumns, batch_size: int) -> tf.data.Dataset:
  """All ratings once, in order, the last batch as large as is left."""

  def copied(index: int) -> RatingColumns:
    del index
    return RatingColumns(*(np.array(column) for column in columns))

  return _batches(copied, tf.data.Dataset.range(1), batch_size, False)


def synthetic_training_batches(
  source: SyntheticRatings,
  batch_size: int,
  epochs: int = 1,
  num_shards: int = 1,
  shard: int = 0,
) -> tf.data.Dataset:
  """Like `training_batches`, of generated ratings, which need no shuffling."""

  def kept(index: int) -> RatingColumns:
    chunk = source.chunk(int(index))
    return RatingColumns(*chunk).take(~is_held_out(chunk.users, chunk.movies))

  indexes = tf.data.Dataset.range(shard, source.num_chunks, num_shards).repeat(epochs)
  return _batches(kept, indexes, batch_size, True)


def synthetic_held_out_batches(
  source: SyntheticRatings, batch_size: int
) -> tf.data.Dataset:
  """Like `held_out_batches`, of generated ratings."""

  def held_out(index: int) -> RatingColumns:
    chunk = source.chunk(int(index))
    return RatingColumns(*chunk).take(is_held_out(chunk.users, chunk.movies))

  return _batches(held_out, tf.data.Dataset.range(source.num_chunks), batch_size, False)


def _batches(
  block: Block, indexes: tf.data.Dataset, batch_size: int, drop_remainder: bool
) -> tf.data.Dataset:
  def read(index: tf.Tensor) -> dict[str, tf.Tensor]:
    users, movies, ratings = tf.numpy_function(
      block, [index], (tf.int64, tf.int64, tf.float32)
    )

    def column(values: tf.Tensor) -> tf.Tensor:
      return tf.expand_dims(tf.ensure_shape(values, [None]), axis=1)

    return {"mov": column(movies), "uid": column(users), "label": column(ratings)}

  return (
    indexes.map(read)
    .prefetch(1)  # The next block is made while this one is trained on.
    .rebatch(batch_size, drop_remainder=drop_remainder)
  )
