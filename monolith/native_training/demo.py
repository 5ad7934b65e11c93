"""Trains the movie-ranking model on this machine, with servers and workers.

bazel run //monolith/native_training:demo -- --training_type=batch
"""

from absl import flags

from monolith.native_training.movie_ranking.demo import demo_local_runner

flags.adopt_module_key_flags(demo_local_runner)

if __name__ == "__main__":
  demo_local_runner.run()
