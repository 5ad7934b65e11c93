"""Evaluates the newest checkpoint on the held-out tenth of the ratings.

Reads and prepares the ratings first, then waits until training is over, so that at that
moment nothing is left to do but evaluate.
"""

from __future__ import annotations

import json
import os
import time

import numpy as np
from absl import flags

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.local_files import whole_file
from monolith.native_training.movie_ranking import model_flags
from monolith.native_training.movie_ranking.movie_ranking_model import (
  SYNTHETIC,
  MovieRankingModel,
)
from monolith.native_training.movie_ranking.rating_table import load_rating_table

_POLL_SECONDS = 0.05

_WAIT_FOR = flags.DEFINE_string(
  "wait_for", "", "Begin when this file is there; empty is at once."
)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write the metrics to.")


def main(model: MovieRankingModel, config: RunnerConfig) -> None:
  if model.p.dataset != SYNTHETIC and model.p.ratings_dir:
    load_rating_table(model.p.dataset, model.p.ratings_dir)
  while _WAIT_FOR.value and not os.path.exists(_WAIT_FOR.value):
    time.sleep(_POLL_SECONDS)
  metrics = Estimator(model, config).evaluate()
  metrics = {name: np.asarray(value).item() for name, value in metrics.items()}
  whole_file.write_text(_OUTPUT.value, json.dumps(metrics))


if __name__ == "__main__":
  flags.mark_flag_as_required("output")
  model_flags.run(main)
