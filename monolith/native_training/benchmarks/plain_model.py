"""The movie-ranking model with plain TensorFlow embeddings: the peer of ours."""

from __future__ import annotations

import tensorflow as tf

import monolith.native_training.tensorflow_compat  # noqa: F401

_EMBEDDING_DIM = 32
_LEARNING_RATE = 0.05


class PlainMovieRanking:
  """`MovieRankingModel` with a `tf.Variable` for each table, in the default graph.

  Layers, loss, optimizer and rates are the same; a row is found by its number, the
  ids of the data being numbered from 0.

  Args:
    num_users, num_movies: rows of the two variables.
  """

  def __init__(self, num_users: int, num_movies: int):
    self._users = _embeddings("users", num_users)
    self._movies = _embeddings("movies", num_movies)
    self._ratings = tf.keras.Sequential(
      [
        tf.keras.layers.Dense(256, activation="relu"),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(1),
      ]
    )

  def predict(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
    """The predicted ratings, float32 `[batch, 1]`.

    Args:
      features: `uid` and `mov`, int64 `[batch, 1]`.
    """
    user = tf.gather(self._users, tf.squeeze(features["uid"], axis=1))
    movie = tf.gather(self._movies, tf.squeeze(features["mov"], axis=1))
    return self._ratings(tf.concat((user, movie), axis=1))

  def loss(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
    """The mean squared error of a batch, float32 scalar.

    Args:
      features: as for `predict`, and `label`, float32 `[batch, 1]`.
    """
    rank = self.predict(features)
    return tf.reduce_mean(tf.losses.mean_squared_error(features["label"], rank))


def train_op(loss: tf.Tensor) -> tf.Operation:
  """One step: Adagrad on dense variables and embeddings, and the step counted."""
  optimizer = tf.compat.v1.train.AdagradOptimizer(
    _LEARNING_RATE, initial_accumulator_value=0.1
  )
  step = tf.compat.v1.train.get_or_create_global_step()
  return optimizer.minimize(loss, global_step=step)


def _embeddings(name: str, rows: int) -> tf.Variable:
  return tf.compat.v1.get_variable(
    f"{name}_embeddings",
    [rows, _EMBEDDING_DIM],
    initializer=tf.compat.v1.random_uniform_initializer(-0.05, 0.05),
    use_resource=True,
  )
