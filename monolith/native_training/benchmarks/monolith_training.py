"""Trains the movie-ranking model for a limited time and logs its steps.

What `movie_ranking:train` does, with a log for the cluster benchmark. Runs the role
that TF_CONFIG names; without TF_CONFIG everything is in one process. At its end a
worker prints its examples per second.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app

from monolith.native_training.benchmarks import role_log
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import model_flags


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  log = role_log.RoleLog.from_flags()
  model = model_flags.model_from_flags()
  Estimator(model, RunnerConfig.from_flags()).train(hooks=[log])
  log.write()
  if log.examples_per_second():
    print(f"{log.examples_per_second():,.0f} examples/s")


if __name__ == "__main__":
  RunnerConfig.define_flags()
  model_flags.define_flags()
  role_log.define_flags()
  app.run(main)
