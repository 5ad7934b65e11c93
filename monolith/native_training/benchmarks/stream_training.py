"""Trains the movie-ranking model for a limited time, from arrays, files or a topic.

What `movie_ranking:train` does, with a log of its steps for `stream_benchmark`: batches
of a stream are of different sizes, which are counted. Runs the role that TF_CONFIG
names; without TF_CONFIG everything is in one process.
"""

from __future__ import annotations

import os
import time

import numpy as np
import tensorflow as tf
from absl import flags

from monolith.native_training.benchmarks import role_log
from monolith.native_training.data.kafka.kafka_messages import EVENT_TIME_MS
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import (
  MESSAGE,
  MovieRankingModel,
)

_LATENCIES = flags.DEFINE_string(
  "latencies",
  "",
  "Write a row (moment, seconds from the message to its step) for each example of a "
  "stream to this file, as .npy.",
)
_EXAMPLES = flags.DEFINE_string(
  "examples", "", "A file of serialized Examples, as TFRecords, to train on for ever."
)
_SENT = "sent_ms"


class MeasuredMovieRanking(MovieRankingModel):
  """`MovieRankingModel`; says how large its batches are and when they were sent.

  Attributes:
    num_examples: of a batch, int64 scalar of the graph built last.
    sent_ms: int64 `[n]`, of a batch of a stream.
  """

  num_examples: tf.Tensor | None = None
  sent_ms: tf.Tensor | None = None

  def input_fn(self, mode: str) -> tf.data.Dataset:
    if _EXAMPLES.value:
      return _batches_of_file(_EXAMPLES.value, self.p.train.per_replica_batch_size)
    dataset = super().input_fn(mode)
    if _LATENCIES.value:
      dataset = dataset.map(lambda batch: {**batch, _SENT: batch[EVENT_TIME_MS]})
    return dataset

  def model_fn(self, features: dict, mode: str) -> EstimatorSpec:
    self.num_examples = tf.shape(features["label"], tf.int64)[0]
    if _LATENCIES.value:
      self.sent_ms = features[_SENT]
    return super().model_fn(features, mode)


def _batches_of_file(path: str, size: int) -> tf.data.Dataset:
  """Batches as one would read them from files; workers need not share them out here."""
  batches = tf.data.TFRecordDataset(path).repeat().batch(size, drop_remainder=True)
  parsed = batches.map(lambda batch: tf.io.parse_example(batch, MESSAGE))
  return parsed.prefetch(tf.data.AUTOTUNE)


class _Latencies(tf.compat.v1.train.SessionRunHook):
  """Keeps how long after its message each example was trained on."""

  def __init__(self, model: MeasuredMovieRanking):
    self._model = model
    self._rows: list[np.ndarray] = []

  def before_run(self, run_context):
    del run_context
    return tf.compat.v1.train.SessionRunArgs(self._model.sent_ms)

  def after_run(self, run_context, run_values) -> None:
    del run_context
    now = time.time()
    seconds = now - run_values.results / 1000
    self._rows.append(np.stack([np.full_like(seconds, now), seconds], axis=1))

  def write(self, path: str) -> None:
    """Writes the rows, where this process has trained."""
    if not self._rows:
      return
    with open(f"{path}.tmp", "wb") as file:
      np.save(file, np.concatenate(self._rows))
    os.replace(f"{path}.tmp", path)


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  model = MeasuredMovieRanking(model.p)
  log = role_log.RoleLog.from_flags(lambda: model.num_examples)
  hooks, latencies = [log], _Latencies(model)
  if _LATENCIES.value:
    hooks.append(latencies)
  Estimator(model, config).train(hooks=hooks)
  log.write()
  if _LATENCIES.value:
    latencies.write(_LATENCIES.value)
  if log.examples_per_second():
    print(f"{log.examples_per_second():,.0f} examples/s", flush=True)


if __name__ == "__main__":
  role_log.define_flags()
  model_flags.run(main)
