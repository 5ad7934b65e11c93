"""Trains the movie-ranking model with plain TensorFlow variables: the peer of ours.

The same data, batches, layers, optimizers and rates; the embeddings are `tf.Variable`s
of as many rows as there are ids, read by `tf.gather`. Runs the role that TF_CONFIG
names, with variables spread over servers by `replica_device_setter`; without TF_CONFIG
everything is in one process. At its end a worker prints its examples per second.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import app

from monolith.native_training.benchmarks import plain_training, role_log
from monolith.native_training.benchmarks.numbered_ratings import NumberedRatings
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.training.cluster import Cluster


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  log = role_log.RoleLog.from_flags()
  ratings = NumberedRatings.load(model_flags.model_from_flags().p)
  plain_training.train_role(Cluster.from_environment(), ratings, [log])
  log.write()
  if log.examples_per_second():
    print(f"{log.examples_per_second():,.0f} examples/s")


if __name__ == "__main__":
  model_flags.define_flags()
  role_log.define_flags()
  app.run(main)
