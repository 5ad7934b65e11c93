"""The model's settings as command-line flags, for programs that run one process."""

from __future__ import annotations

from absl import flags

from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel

_OWN = ("dataset", "ratings_dir", "num_ratings", "epochs", "seed")


def define_flags() -> None:
  """Defines a flag for each setting; call it before flags are parsed."""
  defaults = MovieRankingModel.params()
  for name in _OWN:
    default = getattr(defaults, name)
    define = flags.DEFINE_integer if isinstance(default, int) else flags.DEFINE_string
    define(name, default, defaults.describe(name))
  flags.DEFINE_integer("batch_size", 512, "Examples a step of one worker.")
  flags.DEFINE_integer("max_steps", None, "Global step at which training ends.")


def model_from_flags() -> MovieRankingModel:
  """The model that the flags describe."""
  values = flags.FLAGS
  params = MovieRankingModel.params()
  params.set(**{name: values[name].value for name in _OWN})
  params.train.per_replica_batch_size = values["batch_size"].value
  params.eval.per_replica_batch_size = values["batch_size"].value
  params.train.max_steps = values["max_steps"].value
  return params.instantiate()
