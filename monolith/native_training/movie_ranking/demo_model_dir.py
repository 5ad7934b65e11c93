"""The folder of the demo's model, which remembers the ratings it was trained on."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile

_RECORD = "demo.json"


def prepare(path: str, dataset: str) -> str:
  """Makes the folder, with one for logs in it, for training on a data set.

  Args:
    path: the folder; `""` is a new temporary one.
    dataset: the value of `--dataset`.

  Returns:
    The folder.

  Raises:
    ValueError: the model in it was trained on another data set.
    OSError: it cannot be made.
  """
  if path:
    trained_on = _trained_on(pathlib.Path(path))
    if trained_on not in (None, dataset):
      raise ValueError(
        f"--model_dir={path} holds a model trained on --dataset={trained_on}; training "
        f"it on {dataset} would mix the two. Name another folder, or remove this one"
      )
  folder = pathlib.Path(path or tempfile.mkdtemp(prefix="movie_ranking-"))
  (folder / "logs").mkdir(parents=True, exist_ok=True)
  partial = folder / f"{_RECORD}.tmp"
  partial.write_text(json.dumps({"dataset": dataset}) + "\n")
  os.replace(partial, folder / _RECORD)
  return str(folder)


def _trained_on(folder: pathlib.Path) -> str | None:
  """The data set of a folder's model; None where it has none, or none of the demo's."""
  if not any(folder.glob("model.ckpt-*")):
    return None
  try:
    return json.loads((folder / _RECORD).read_text())["dataset"]
  except FileNotFoundError:
    return None
