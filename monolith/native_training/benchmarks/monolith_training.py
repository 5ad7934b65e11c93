"""Trains the movie-ranking model for a limited time and logs its steps.

What `movie_ranking:train` does, with a log for the cluster benchmark. Runs the role
that TF_CONFIG names; without TF_CONFIG everything is in one process. At its end a
worker prints its examples per second.
"""

from __future__ import annotations

from monolith.native_training.benchmarks import role_log
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  log = role_log.RoleLog.from_flags()
  Estimator(model, config).train(hooks=[log])
  log.write()
  if log.examples_per_second():
    print(f"{log.examples_per_second():,.0f} examples/s")


if __name__ == "__main__":
  role_log.define_flags()
  model_flags.run(main)
