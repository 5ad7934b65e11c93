"""The command line of the programs that run one process of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import app, flags, logging

from monolith.native_training.estimator import RunnerConfig
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel

_OWN = (
  "dataset",
  "ratings_dir",
  "num_ratings",
  "epochs",
  "seed",
  "kafka_servers",
  "topic",
  "group",
  "stream_timeout",
  "kafka_configuration",
  "max_bad_message_ratio",
)
_DEFINE = {
  float: flags.DEFINE_float,
  int: flags.DEFINE_integer,
  list: flags.DEFINE_multi_string,
  str: flags.DEFINE_string,
}


flags.disclaim_key_flags()  # They are the program's, so that its --help shows them.


def run(main: Callable[[MovieRankingModel, RunnerConfig], None]) -> None:
  """Runs a program whose flags describe the model and how it runs.

  Args:
    main: is given what the flags describe.
  """

  def parsed(argv: Sequence[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
    config = RunnerConfig.from_flags()
    config.model_dir = user_path(config.model_dir)
    main(_model_from_flags(), config)

  logging.set_verbosity(logging.INFO)
  tf.get_logger().setLevel("ERROR")  # It tells what our own log tells, and twice.
  RunnerConfig.define_flags()
  _define_model_flags()
  app.run(parsed)


def _define_model_flags() -> None:
  defaults = MovieRankingModel.params()
  for name in _OWN:
    default = getattr(defaults, name)
    _DEFINE[type(default)](name, default, defaults.describe(name))
  flags.DEFINE_integer("batch_size", 512, "Examples a step of one worker.")
  flags.DEFINE_integer("max_steps", None, "Global step at which training ends.")


def _model_from_flags() -> MovieRankingModel:
  values = flags.FLAGS
  params = MovieRankingModel.params()
  params.set(**{name: values[name].value for name in _OWN})
  params.train.per_replica_batch_size = values["batch_size"].value
  params.eval.per_replica_batch_size = values["batch_size"].value
  params.train.max_steps = values["max_steps"].value
  return params.instantiate()
