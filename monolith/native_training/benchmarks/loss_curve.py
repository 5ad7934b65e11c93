"""Trains the movie-ranking model for some steps and writes the loss of each.

Plays the role that TF_CONFIG names. Runs with the same seeds see the same synthetic
ratings and begin with the same values, on any cluster of one worker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags

from monolith.native_training.benchmarks.seeded_model import SeededMovieRanking
from monolith.native_training.estimator import Estimator, RunnerConfig

_STEPS = flags.DEFINE_integer("steps", 200, "Steps to train.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 512, "Examples a step.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of ratings and dense initial values.")
_OUTPUT = flags.DEFINE_string("output", None, "Where a worker's losses go, as JSON.")


class _Losses(tf.compat.v1.train.SessionRunHook):
  """Keeps the loss of every step of `model`."""

  def __init__(self, model: SeededMovieRanking):
    self._model = model
    self.values: list[float] = []

  def before_run(self, run_context):
    del run_context
    return tf.compat.v1.train.SessionRunArgs(self._model.loss)

  def after_run(self, run_context, run_values) -> None:
    del run_context
    self.values.append(float(run_values.results))


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  params = SeededMovieRanking.params().set(
    dataset="synthetic",
    # A tenth is held out; twice as many as needed are enough for sure.
    num_ratings=2 * _STEPS.value * _BATCH_SIZE.value,
    epochs=1,
    seed=_SEED.value,
    dense_seed=_SEED.value,
  )
  params.train.per_replica_batch_size = _BATCH_SIZE.value
  model = params.instantiate()
  losses = _Losses(model)
  estimator = Estimator(model, RunnerConfig.from_flags())
  estimator.train(max_steps=_STEPS.value, hooks=[losses])
  if losses.values:
    with open(_OUTPUT.value, "w") as file:
      json.dump(losses.values, file)


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  RunnerConfig.define_flags()
  app.run(main)
