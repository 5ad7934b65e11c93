"""The tutorial's model, trained on synthetic ratings and exported."""

import os

import numpy as np
import tensorflow as tf

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking.movie_ranking_model import (
  SYNTHETIC,
  MovieRankingModel,
)

_NUM_RATINGS = 1_000_000
_STEPS = 500


def _model() -> MovieRankingModel:
  params = MovieRankingModel.params()
  params.dataset = SYNTHETIC
  params.num_ratings = _NUM_RATINGS
  params.train.per_replica_batch_size = 512
  return params.instantiate()


def export(model_dir: str) -> str:
  """Returns the folder of the export."""
  job = Estimator(_model(), RunnerConfig(model_dir=model_dir))
  job.train(max_steps=_STEPS)
  return job.export_saved_model()


def batch(size: int) -> dict[str, np.ndarray]:
  """Ids of a batch, all with rows: those that the model was trained on first."""
  batches = _model().input_fn(tf.estimator.ModeKeys.TRAIN).unbatch().batch(size)
  features = next(iter(batches))
  return {name: features[name].numpy().reshape(size, 1) for name in ("mov", "uid")}


def version_folder(base_path: str, version: int) -> str:
  return os.path.join(base_path, str(version))
