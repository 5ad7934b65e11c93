"""Trains the movie-ranking model with plain TensorFlow variables: the peer of ours.

The same data, batches, layers, optimizers and rates; the embeddings are `tf.Variable`s
of as many rows as there are ids, read by `tf.gather`. Runs the role that TF_CONFIG
names, with variables spread over servers by `replica_device_setter`; without TF_CONFIG
everything is in one process. Flags are those of `movie_ranking:train`, but neither
checkpoints nor summaries are written. At its end a worker prints its examples per
second.
"""

from __future__ import annotations

from monolith.native_training.benchmarks import plain_training, role_log
from monolith.native_training.benchmarks.numbered_ratings import NumberedRatings
from monolith.native_training.estimator import RunnerConfig
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  log = role_log.RoleLog.from_flags()
  ratings = NumberedRatings.load(model.p)
  plain_training.train_role(config.cluster(), ratings, [log])
  log.write()
  if log.examples_per_second():
    print(f"{log.examples_per_second():,.0f} examples/s")


if __name__ == "__main__":
  role_log.define_flags()
  model_flags.run(main)
