"""What training online is worth: test-then-train on ratings in the order of time.

Each batch of ratings is predicted first and trained on then. One way to predict is a
copy of the model that gets the training's state every so many batches (--sync_every,
several values); 1 is the training model itself. The other is a copy that is frozen when
--frozen_after of the ratings are trained on. The mean of all ratings so far is there to
say what a model without any embedding would do.

The movie-ranking model trains by `Estimator.train`. A copy is not kept: at the moment
at which it would be made, the model predicts all that the copy would have to until the
next one. Ids that the model has not seen have the initial values of their rows.

Prints the root mean squared error (RMSE) by time; --output=FILE.png plots it.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training.benchmarks import windowed_errors
from monolith.native_training.benchmarks.seeded_model import SeededMovieRanking
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.movie_ranking import timed_ratings
from monolith.native_training.movie_ranking.ratings import to_ragged

_DATASET = flags.DEFINE_enum("ratings", "100k", ["100k", "1m", "25m"], "MovieLens.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Ratings a step.", lower_bound=1)
_SYNC_EVERY = flags.DEFINE_multi_integer(
  "sync_every", [1, 10, 100], "Batches from one copy to the next; may be repeated.", 1
)
_FROZEN_AFTER = flags.DEFINE_float(
  "frozen_after", 0.7, "Part of the ratings that the frozen model has.", 0.0, 1.0
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Runs with other initial values.", 1)
_BUCKETS = flags.DEFINE_integer("buckets", 10, "Buckets behind the freezing.", 1)
_OUTPUT = flags.DEFINE_string("output", "", "Also plot to this PNG file.")
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")

_FROZEN = "frozen"
_MEAN = "mean rating"
_PREDICT_AT_ONCE = 8192
_PLOT_BUCKETS = 40
_PLOTTED_STARS = (0.8, 1.6)  # Models that have seen next to nothing are far above.


class _RatingsByTime(SeededMovieRanking):
  """Trains on ratings in their order, and can predict others in the same graph.

  Attributes:
    ratings: `mov`, `uid`, `label`, each `[n]`.
    features: of the graph built last.
    rank: float32 `[batch, 1]`, its predictions, from before the step that trains.
  """

  ratings: dict[str, np.ndarray] = {}
  features: dict = {}
  rank: tf.Tensor | None = None

  def input_fn(self, mode: str) -> tf.data.Dataset:
    columns = {name: column[:, np.newaxis] for name, column in self.ratings.items()}
    batches = tf.data.Dataset.from_tensor_slices(columns).batch(
      self.p.train.per_replica_batch_size
    )
    return batches.map(to_ragged).prefetch(1)

  def model_fn(self, features: dict, mode: str) -> EstimatorSpec:
    spec = super().model_fn(features, mode)
    self.features, self.rank = dict(features), spec.pred
    return spec


class _Copies(tf.compat.v1.train.SessionRunHook):
  """Predicts what copies of the model would predict.

  Attributes:
    squared: by way to predict, float64 `[n]`, squared errors; NaN where it has not
      predicted.
  """

  def __init__(self, model: _RatingsByTime, sync_every: Sequence[int], frozen_at: int):
    self._model = model
    self._sync_every = sync_every
    self._frozen_at = frozen_at  # Batches.
    self._batch = 0
    count = len(model.ratings["label"])
    names = [*map(_online, sync_every), _FROZEN]
    self.squared = {name: np.full(count, np.nan) for name in names}

  def before_run(self, run_context):
    session = run_context.session
    size = self._model.p.train.per_replica_batch_size
    for every in self._sync_every:
      if self._batch % every == 0:
        begin = self._batch * size
        self._predict(session, _online(every), begin, begin + every * size)
    if self._batch == self._frozen_at:
      self._predict(session, _FROZEN, self._batch * size, None)
    self._batch += 1

  def _predict(self, session, name: str, begin: int, end: int | None) -> None:
    labels = self._model.ratings["label"]
    end = len(labels) if end is None else min(end, len(labels))
    for i in range(begin, end, _PREDICT_AT_ONCE):
      rows = slice(i, min(i + _PREDICT_AT_ONCE, end))
      feed = {}
      for feature in ("mov", "uid"):
        ids = self._model.ratings[feature][rows]
        ragged = self._model.features[feature]
        feed[ragged.values] = ids
        feed[ragged.row_splits] = np.arange(len(ids) + 1)
      rank = session.run(self._model.rank, feed)
      self.squared[name][rows] = np.square(rank[:, 0] - labels[rows])


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  ratings = timed_ratings.ratings_by_time(_DATASET.value, held_out=True)
  del ratings["timestamp"]
  count, size = len(ratings["label"]), _BATCH_SIZE.value
  frozen_at = round(_FROZEN_AFTER.value * count / size)
  sync_every = sorted(set(_SYNC_EVERY.value))
  runs = [_run(ratings, sync_every, frozen_at, seed) for seed in range(_SEEDS.value)]
  begin = frozen_at * size
  rows = {}
  for name in [*runs[0], _MEAN]:
    own = [run[name] for run in runs] if name in runs[0] else [_errors_of_mean(ratings)]
    found = [windowed_errors.rmse_by_bucket(s, begin, _BUCKETS.value) for s in own]
    rows[name] = [rmse for rmse, _ in found]
    edges = found[0][1]
  title = (
    f"{count:,} ratings by time, batches of {size}, frozen after {begin:,}, "
    f"{_SEEDS.value} seed(s): mean ± half the range"
  )
  print(title)
  for line in windowed_errors.table(rows, edges):
    print("| " + " | ".join(line) + " |")
  if _OUTPUT.value:
    _plot(
      {**_together(runs), _MEAN: [_errors_of_mean(ratings)]},
      begin,
      user_path(_OUTPUT.value),
    )
  if _JSON.value:
    content = {"title": title, "edges": edges.tolist()}
    content["rmse"] = {name: np.array(r).tolist() for name, r in rows.items()}
    with open(user_path(_JSON.value), "w") as file:
      json.dump(content, file, indent=2)


def _online(every: int) -> str:
  return f"online, every {every}" if every > 1 else "online, every batch"


def _run(
  ratings: dict[str, np.ndarray], sync_every: Sequence[int], frozen_at: int, seed: int
) -> dict[str, np.ndarray]:
  """The squared errors of all ways, of one training."""
  params = _RatingsByTime.params().set(dense_seed=seed)
  params.train.per_replica_batch_size = _BATCH_SIZE.value
  model = params.instantiate()
  model.ratings = ratings
  copies = _Copies(model, sync_every, frozen_at)
  with tempfile.TemporaryDirectory(prefix="monolith-benchmark-") as folder:
    # Without TF_CONFIG's cluster, whatever the environment says.
    config = RunnerConfig(tf_config={}, model_dir=os.path.join(folder, "model"))
    Estimator(model, config).train(hooks=[copies])
  return copies.squared


def _errors_of_mean(ratings: dict[str, np.ndarray]) -> np.ndarray:
  """Squared errors of the mean of all ratings before."""
  labels = ratings["label"].astype(np.float64)
  before = np.concatenate([[0.0], np.cumsum(labels)[:-1]])
  return np.square(before / np.maximum(np.arange(len(labels)), 1) - labels)


def _together(runs: Sequence[dict[str, np.ndarray]]) -> dict[str, list[np.ndarray]]:
  return {name: [run[name] for run in runs] for name in runs[0]}


def _plot(errors: dict[str, list[np.ndarray]], frozen: int, path: str) -> None:
  import matplotlib  # Slow to import.

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(figsize=(9, 4.5), dpi=100)
  for name, seeds in errors.items():
    begin = frozen if name == _FROZEN else 0
    count = len(seeds[0])
    buckets = max(round(_PLOT_BUCKETS * (count - begin) / count), 1)
    found = [windowed_errors.rmse_by_bucket(s, begin, buckets) for s in seeds]
    rmse, edges = np.array([r for r, _ in found]), found[0][1]
    middle = (edges[1:] + edges[:-1]) / 2
    style = ":" if name == _MEAN else "-"
    (line,) = axes.plot(middle, rmse.mean(axis=0), style, label=name)
    axes.fill_between(
      middle, rmse.min(axis=0), rmse.max(axis=0), color=line.get_color(), alpha=0.2
    )
  axes.axvline(frozen, color="grey", linewidth=1)
  axes.set_xlabel("ratings, in the order of time")
  axes.set_ylabel("RMSE of predictions before training, stars")
  axes.set_title(f"Mean and range of {_SEEDS.value} seeds")
  axes.set_ylim(*_PLOTTED_STARS)
  axes.legend()
  axes.grid(alpha=0.3)
  figure.tight_layout()
  figure.savefig(path)


if __name__ == "__main__":
  app.run(main)
