"""Runs one process of a training job: the role that TF_CONFIG names.

  TF_CONFIG='{"cluster": {"ps": ["host:port"], "worker": ["host:port", "host:port"]},
              "task": {"type": "worker", "index": 1}}' \\
    train --model_dir=/shared/folder --dataset=25m --epochs=1

Without TF_CONFIG it is a job of one process. See --help for the settings.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app, logging

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import model_flags


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  Estimator(model_flags.model_from_flags(), RunnerConfig.from_flags()).train()


if __name__ == "__main__":
  logging.set_verbosity(logging.INFO)
  RunnerConfig.define_flags()
  model_flags.define_flags()
  app.run(main)
