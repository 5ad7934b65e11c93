"""The tutorial's model: predicts a user's rating of a movie from two embeddings."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from monolith.core.hyperparams import InstantiableParams
from monolith.native_training.data.bad_messages import BadMessages
from monolith.native_training.data.datasets import create_plain_kafka_dataset
from monolith.native_training.data.example_parsing import decode_example
from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.movie_ranking import rating_batches
from monolith.native_training.movie_ranking.rating_table import load_rating_table
from monolith.native_training.movie_ranking.ratings import to_ragged
from monolith.native_training.movie_ranking.synthetic_ratings import SyntheticRatings
from monolith.native_training.native_model import MonolithModel

SYNTHETIC = "synthetic"
# Features of the `tf.train.Example`s that `kafka_producer` sends.
MESSAGE = {
  "mov": tf.io.RaggedFeature(tf.int64),
  "uid": tf.io.RaggedFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}
_EMBEDDING_DIM = 32
_LEARNING_RATE = 0.05


class MovieRankingModel(MonolithModel):
  """Two tables, `mov` and `uid`, below three dense layers; squared loss on the stars.

  Head `rank` predicts float32 `[batch, 1]`. The batch sizes are the parameters
  `train.per_replica_batch_size` and `eval.per_replica_batch_size`.
  """

  @classmethod
  def params(cls) -> InstantiableParams:
    p = super().params()
    p.define("dataset", "100k", "MovieLens 100k, 1m or 25m, or 'synthetic'.")
    p.define(
      "ratings_dir",
      "",
      "Folder that this machine's processes share prepared MovieLens ratings in. "
      "Empty: each prepares its own, in memory.",
    )
    p.define("num_ratings", 1_000_000, "How many ratings 'synthetic' has, both splits.")
    p.define("epochs", 7, "How often each rating is trained on.")
    p.define("seed", 0, "Seed of the order of ratings, and of synthetic ones.")
    p.define(
      "kafka_servers",
      "",
      "Brokers, host:port with commas between: train on a topic. Empty: on files.",
    )
    p.define("topic", "movie-ratings", "What `kafka_producer` sends ratings to.")
    p.define("group", "movie-ranking", "Consumer group of the workers.")
    p.define("stream_timeout", -1, "Milliseconds without a rating that end training.")
    p.define("kafka_configuration", [], 'Settings of librdkafka, "key=value".')
    p.define(
      "max_bad_message_ratio",
      0.01,
      "Share of a stream's messages that may be no ratings, 0 to 1; more end training.",
    )
    return p

  def input_fn(self, mode: str) -> tf.data.Dataset:
    if mode == tf.estimator.ModeKeys.TRAIN and self.p.kafka_servers:
      return self._stream()
    if mode == tf.estimator.ModeKeys.TRAIN:
      batches = self._training_batches(*_worker_count_and_index())
    else:
      batches = self._held_out_batches()
    return batches.map(to_ragged).prefetch(tf.data.AUTOTUNE)

  def model_fn(self, features: dict, mode: str) -> EstimatorSpec:
    for name in ("mov", "uid"):
      self.create_embedding_feature_column(name)
    movie, user = self.lookup_embedding_slice(
      features=["mov", "uid"], slice_name="vec", slice_dim=_EMBEDDING_DIM
    )
    ratings = tf.keras.Sequential(
      [
        tf.keras.layers.Dense(256, activation="relu"),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(1),
      ]
    )
    rank = ratings(tf.concat((user, movie), axis=1))
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(
        label=None, pred=rank, head_name="rank", classification=False
      )
    label = features["label"]
    loss = tf.reduce_mean(tf.losses.mean_squared_error(label, rank))
    return EstimatorSpec(
      label=label,
      pred=rank,
      head_name="rank",
      loss=loss,
      optimizer=tf.compat.v1.train.AdagradOptimizer(_LEARNING_RATE),
      classification=False,
    )

  def serving_input_receiver_fn(self):
    ids = {
      name: tf.compat.v1.placeholder(tf.int64, [None, 1], name=name)
      for name in ("mov", "uid")
    }
    features = {name: tf.RaggedTensor.from_tensor(ids[name]) for name in ids}
    receiver = tf.estimator.export.ServingInputReceiver
    examples = tf.compat.v1.placeholder(tf.string, [None], name="examples")
    return {
      "serving_default": receiver(features, ids),
      "examples": receiver(
        tf.io.parse_example(examples, {name: MESSAGE[name] for name in ids}),
        {"examples": examples},
      ),
    }

  def _training_batches(self, num_workers: int, worker: int) -> tf.data.Dataset:
    batch_size = self.p.train.per_replica_batch_size
    if self.p.dataset == SYNTHETIC:
      return rating_batches.synthetic_training_batches(
        self._synthetic(), batch_size, self.p.epochs, num_workers, worker
      )
    return rating_batches.training_batches(
      load_rating_table(self.p.dataset, self.p.ratings_dir).train,
      batch_size,
      self.p.epochs,
      self.p.seed,
      num_workers,
      worker,
    )

  def _stream(self) -> tf.data.Dataset:
    """Ratings as they come: a batch is what there is, so that none waits for others."""
    bad_messages = BadMessages(self.p.max_bad_message_ratio)
    return create_plain_kafka_dataset(
      [self.p.topic],
      self.p.group,
      self.p.kafka_servers,
      stream_timeout=self.p.stream_timeout,
      poll_batch_size=self.p.train.per_replica_batch_size,
      configuration=self.p.kafka_configuration,
    ).map(lambda messages: decode_example(messages, MESSAGE, bad_messages))

  def _held_out_batches(self) -> tf.data.Dataset:
    batch_size = self.p.eval.per_replica_batch_size
    if self.p.dataset == SYNTHETIC:
      return rating_batches.synthetic_held_out_batches(self._synthetic(), batch_size)
    table = load_rating_table(self.p.dataset, self.p.ratings_dir)
    return rating_batches.held_out_batches(table.test, batch_size)

  def _synthetic(self) -> SyntheticRatings:
    return SyntheticRatings(self.p.num_ratings, self.p.seed)


def _worker_count_and_index() -> tuple[int, int]:
  """How many processes train, the chief among them, and which of them this one is."""
  config = json.loads(os.environ.get("TF_CONFIG") or "{}")
  cluster, task = config.get("cluster", {}), config.get("task", {})
  num_chiefs = len(cluster.get("chief", []))
  count = num_chiefs + len(cluster.get("worker", []))
  index = task.get("index", 0) + (num_chiefs if task.get("type") == "worker" else 0)
  return max(count, 1), index
