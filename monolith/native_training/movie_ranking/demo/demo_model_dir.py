"""The folder of the demo's model, which remembers what the model was trained on."""

from __future__ import annotations

import json
import os
import pathlib
import secrets
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
  _write(folder, {**_read(folder), "dataset": dataset})
  return str(folder)


def consumer_group(path: str, chosen: str = "") -> str:
  """The consumer group by which a folder's model reads streams.

  The folder keeps it, because how far a model is trained on a stream is told by group:
  whoever goes on with the model needs the same. Another folder has another one, also
  where it has the same name, here or elsewhere or later.

  Args:
    path: the folder, which `prepare` has made.
    chosen: the user's choice; `""` is the one that the folder keeps, or a new one.

  Raises:
    OSError: it cannot be kept.
  """
  folder = pathlib.Path(path)
  record = _read(folder)
  group = chosen or record.get("group") or new_group(path)
  if group != record.get("group"):
    _write(folder, {**record, "group": group})
  return group


def new_group(path: str) -> str:
  """A consumer group that no broker and no checkpoint knows, named after a folder."""
  return f"{pathlib.Path(path).name}-{secrets.token_hex(4)}"


def what_is_saved(path: str) -> str:
  """What to say of a folder's checkpoints when training is stopped."""
  if any(pathlib.Path(path).glob("model.ckpt-*.tables/manifest.json")):
    return f"what was saved until then is in {path}"
  return "nothing was saved"


def _trained_on(folder: pathlib.Path) -> str | None:
  """The data set of a folder's model; None where it has none, or none of the demo's."""
  if not any(folder.glob("model.ckpt-*")):
    return None
  return _read(folder).get("dataset")


def _read(folder: pathlib.Path) -> dict[str, str]:
  try:
    return json.loads((folder / _RECORD).read_text())
  except FileNotFoundError:
    return {}


def _write(folder: pathlib.Path, record: dict[str, str]) -> None:
  """Writes it as a whole or not at all."""
  partial = folder / f"{_RECORD}.tmp"
  partial.write_text(json.dumps(record) + "\n")
  os.replace(partial, folder / _RECORD)
