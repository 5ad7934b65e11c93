"""Exports the newest checkpoint for a model server, and writes a request for it."""

from __future__ import annotations

import json

import tensorflow as tf
from absl import flags

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.local_files import whole_file
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel

_OUTPUT = flags.DEFINE_string(
  "output", None, "JSON file for the body of a REST request: a rating held out."
)


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  Estimator(model, config).export_saved_model()
  batch = next(iter(model.input_fn(tf.estimator.ModeKeys.EVAL)))
  instance = {name: batch[name][0].numpy().tolist() for name in ("mov", "uid")}
  whole_file.write_text(_OUTPUT.value, json.dumps({"instances": [instance]}))


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  model_flags.run(main)
