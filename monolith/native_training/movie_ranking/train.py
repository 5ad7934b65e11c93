"""Runs one process of a training job: the role that TF_CONFIG names.

  TF_CONFIG='{"cluster": {"ps": ["host:port"], "worker": ["host:port", "host:port"]},
              "task": {"type": "worker", "index": 1}}' \\
    train --model_dir=/shared/folder --dataset=25m --epochs=1

Without TF_CONFIG it is a job of one process. See --help for the settings.
"""

from __future__ import annotations

import sys

from monolith.native_training.data.bad_messages import TooManyBadMessages
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import last_words, model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  try:
    Estimator(model, config).train()
  except (StreamFailed, TooManyBadMessages) as error:
    sys.exit(last_words.line(str(error)))


if __name__ == "__main__":
  model_flags.run(main)
