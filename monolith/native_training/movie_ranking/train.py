"""Runs one process of a training job: the role that TF_CONFIG names.

  TF_CONFIG='{"cluster": {"ps": ["host:port"], "worker": ["host:port", "host:port"]},
              "task": {"type": "worker", "index": 1}}' \\
    train --model_dir=/shared/folder --dataset=25m --epochs=1

Without TF_CONFIG it is a job of one process. See --help for the settings.
"""

from __future__ import annotations

import sys

import tensorflow as tf

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import last_words, model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  try:
    Estimator(model, config).train()
  except tf.errors.OpError:
    if not (model.bad_messages and model.bad_messages.excess):
      raise
    # TensorFlow's error has it many times, as every process saw it.
    sys.exit(last_words.line(model.bad_messages.excess))


if __name__ == "__main__":
  model_flags.run(main)
