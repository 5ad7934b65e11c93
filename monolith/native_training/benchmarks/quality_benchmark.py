"""Test error of our model beside the same model with plain TensorFlow variables.

Both train on the same batches for as many epochs, from the same initial values of the
dense layers, in this process. Printed is the root mean squared error (RMSE) on the
held-out tenth of the ratings, and ours over the peer's; --json=FILE writes the same.
With --rows_per_id the peer is trained once more with ids hashed into so many rows an
id: what models without collisionless tables do.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence

from absl import app, flags

from monolith.core.hyperparams import InstantiableParams
from monolith.native_training.benchmarks import plain_training
from monolith.native_training.benchmarks.numbered_ratings import NumberedRatings
from monolith.native_training.benchmarks.seeded_model import SeededMovieRanking
from monolith.native_training.estimator import Estimator, RunnerConfig

_OURS = "monolith"
_PLAIN = "plain TensorFlow"

_DATASET = flags.DEFINE_enum(
  "dataset", "100k", ["100k", "1m", "25m", "synthetic"], "Ratings to train and test on."
)
_NUM_RATINGS = flags.DEFINE_integer(
  "num_ratings", 1_000_000, "How many ratings 'synthetic' has."
)
_EPOCHS = flags.DEFINE_integer("epochs", 7, "Passes over the ratings.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 512, "Examples a step.", lower_bound=1)
_SEEDS = flags.DEFINE_integer(
  "seeds", 1, "Train so many times, from other initial values each time.", lower_bound=1
)
_ROWS_PER_ID = flags.DEFINE_float(
  "rows_per_id",
  0.0,
  "Also hash ids into so many rows for each id that there is; 0 does not.",
  lower_bound=0.0,
)
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  with tempfile.TemporaryDirectory(prefix="monolith-benchmark-") as folder:
    params = _params(os.path.join(folder, "ratings"))
    numbered = NumberedRatings.load(params)
    legs: dict[str, Callable[[int], float]] = {
      _OURS: lambda seed: _train_and_test_ours(
        params, seed, os.path.join(folder, f"model-{seed}")
      ),
      _PLAIN: lambda seed: plain_training.train_and_test(numbered, seed),
    }
    if _ROWS_PER_ID.value:
      hashed = numbered.hashed(_ROWS_PER_ID.value)
      legs["plain, hashed ids"] = lambda seed: plain_training.train_and_test(
        hashed, seed
      )
    rmse = {leg: [] for leg in legs}
    for seed in range(_SEEDS.value):
      for leg, train_and_test in legs.items():
        rmse[leg].append(train_and_test(seed))
  size = numbered.table.size if numbered.table else _DATASET.value
  ratio = statistics.mean(rmse[_OURS]) / statistics.mean(rmse[_PLAIN])
  print(_as_text(size, rmse, ratio))
  if _JSON.value:
    content = {
      "dataset": size,
      "epochs": _EPOCHS.value,
      "batch_size": _BATCH_SIZE.value,
      "test_rmse": rmse,
      "ratio": ratio,
    }
    with open(_JSON.value, "w") as file:
      json.dump(content, file, indent=2)


def _params(ratings_dir: str) -> InstantiableParams:
  params = SeededMovieRanking.params().set(
    dataset=_DATASET.value,
    num_ratings=_NUM_RATINGS.value,
    epochs=_EPOCHS.value,
    ratings_dir="" if _DATASET.value == "synthetic" else ratings_dir,
  )
  params.train.per_replica_batch_size = _BATCH_SIZE.value
  params.eval.per_replica_batch_size = _BATCH_SIZE.value
  return params


def _train_and_test_ours(
  params: InstantiableParams, dense_seed: int, model_dir: str
) -> float:
  params = params.copy().set(dense_seed=dense_seed)
  # Without TF_CONFIG's cluster, whatever the environment says.
  config = RunnerConfig(tf_config={}, model_dir=model_dir)
  return Estimator(params.instantiate(), config).train().evaluate()["rank/rmse"]


def _as_text(dataset: str, rmse: dict[str, list[float]], ratio: float) -> str:
  lines = [
    f"{dataset} ratings, {_EPOCHS.value} epochs, batch {_BATCH_SIZE.value}, "
    f"{_SEEDS.value} run(s) each",
    f"  {'test RMSE':18}{'mean':>8}{'from - to':>17}",
  ]
  for leg, values in rmse.items():
    extent = f"{min(values):.4f} - {max(values):.4f}"
    lines.append(f"  {leg:18}{statistics.mean(values):8.4f}{extent:>17}")
  lines.append(f"  {_OURS} / {_PLAIN}: {ratio:.4f}")
  return "\n".join(lines)


if __name__ == "__main__":
  app.run(main)
