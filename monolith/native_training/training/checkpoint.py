"""Checkpoints as files: dense variables and embedding tables of one global step.

  model_dir/model.ckpt-STEP.index, .data-*   dense variables, TensorFlow's own format
  model_dir/model.ckpt-STEP.tables/          a file of rows from every server
  model_dir/model.ckpt-STEP.tables/manifest.json

The manifest is written last and renamed into place: a checkpoint without one does not
exist. Rows find their server again by id, so a checkpoint saved by any number of
servers is restored by any other.

A file of rows also has how often ids without a row have occurred, where a table has an
`occurrence_threshold`. They go on from there when as many servers restore it; any other
number of servers takes as many of these counts as each has room for, the latest before
others, because what is kept of an id on trial does not tell its server. With another
`admission_capacity` they begin at 0 again, which the log says.
"""

import json
import os
import re
from collections.abc import Sequence

import tensorflow as tf

FORMAT_VERSION = 1
_PREFIX = "model.ckpt-"
_MANIFEST = "manifest.json"
_MANIFEST_FIELDS = {"tables": list, "table_files": list, "rows": int}


def path_of(model_dir: str, step: int) -> str:
  """The path of the checkpoint of a global step, without suffix."""
  return os.path.join(model_dir, f"{_PREFIX}{step}")


def tables_dir(path: str) -> str:
  """The folder of its tables."""
  return f"{path}.tables"


def _manifest_path(path: str) -> str:
  return os.path.join(tables_dir(path), _MANIFEST)


def step_of(path: str) -> int:
  """The global step in a checkpoint's path."""
  return int(path.rsplit("-", 1)[1])


def checkpoints(model_dir: str) -> list[str]:
  """Paths of the complete checkpoints of a folder, oldest first."""
  if not model_dir or not tf.io.gfile.isdir(model_dir):
    return []
  pattern = re.compile(re.escape(_PREFIX) + r"(\d+)\.tables/?$")
  steps = (pattern.match(name) for name in tf.io.gfile.listdir(model_dir))
  paths = [
    path_of(model_dir, step)
    for step in sorted(int(match[1]) for match in steps if match)
  ]
  return [path for path in paths if is_complete(path)]


def is_complete(path: str) -> bool:
  """Whether there is a checkpoint at a path, with its manifest."""
  return tf.io.gfile.exists(_manifest_path(path))


def latest_checkpoint(model_dir: str) -> str | None:
  """Path of the newest complete checkpoint, without suffix, or None."""
  paths = checkpoints(model_dir)
  return paths[-1] if paths else None


def _replace_file(path: str, text: str) -> None:
  """Writes a file so that readers see the old content or the new, never a part."""
  temporary = path + ".tmp"
  with tf.io.gfile.GFile(temporary, "w") as file:
    file.write(text)
  tf.io.gfile.rename(temporary, path, overwrite=True)


def write_manifest(path: str, manifest: dict) -> None:
  """Makes what lies at a path a checkpoint."""
  _replace_file(_manifest_path(path), json.dumps(manifest, indent=2))


def write_state(model_dir: str, names: Sequence[str]) -> None:
  """Lists checkpoints, oldest first, for TensorFlow's own tools, such as
  `tf.train.latest_checkpoint`: a `CheckpointState` proto as text."""
  lines = [f'model_checkpoint_path: "{names[-1]}"']
  lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
  _replace_file(os.path.join(model_dir, "checkpoint"), "\n".join(lines) + "\n")


def is_final(path: str) -> bool:
  """Whether training ended with this checkpoint."""
  return bool(read_manifest(path).get("final"))


def mark(path: str, final: bool, data_from_start: bool = False) -> None:
  """Notes that training ended with a checkpoint, or goes on from it after all.

  Args:
    data_from_start: whether what goes on begins its data anew.
  """
  manifest = read_manifest(path)
  marked = {**manifest, "final": final, "data_from_start": data_from_start}
  if not data_from_start:
    del marked["data_from_start"]
  if marked != manifest:
    write_manifest(path, marked)


def begins_data_anew(path: str) -> bool:
  """Whether training that goes on from a checkpoint begins its data anew: it had come
  to its end, or nothing was saved since it went on from there."""
  manifest = read_manifest(path)
  return bool(manifest.get("final") or manifest.get("data_from_start"))


def read_manifest(path: str) -> dict:
  """The manifest of a checkpoint.

  Raises:
    ValueError: it is not readable as one, or from a newer version.
  """
  name = _manifest_path(path)
  try:
    with tf.io.gfile.GFile(name) as file:
      manifest = json.load(file)
  except tf.errors.OpError as error:
    raise ValueError(f"{name}: cannot be read ({error.message})") from None
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise ValueError(f"{name}: damaged manifest ({error})") from None
  if not isinstance(manifest, dict):
    raise ValueError(f"{name}: damaged manifest (no JSON object)")
  version = manifest.get("format_version")
  if version != FORMAT_VERSION:
    raise ValueError(
      f"{name}: got format version {version}, this program reads {FORMAT_VERSION}"
    )
  for key, kind in _MANIFEST_FIELDS.items():
    if not isinstance(manifest.get(key), kind):
      raise ValueError(f"{name}: damaged manifest ({key} is {manifest.get(key)!r})")
  for key in ("tables", "table_files"):
    if not all(isinstance(each, str) for each in manifest[key]):
      raise ValueError(f"{name}: damaged manifest ({key} is {manifest[key]!r})")
  return manifest


def _dense_files(path: str) -> list[str]:
  """The files of a checkpoint's dense variables."""
  folder, prefix = os.path.split(path)
  return [
    os.path.join(folder, name)
    for name in tf.io.gfile.listdir(folder)
    if name == f"{prefix}.index" or name.startswith(f"{prefix}.data-")
  ]


def remove(path: str) -> None:
  """Removes a checkpoint."""
  # The manifest first: what is half removed is no checkpoint any more.
  tf.io.gfile.remove(_manifest_path(path))
  tf.io.gfile.rmtree(tables_dir(path))
  for name in _dense_files(path):
    tf.io.gfile.remove(name)


def rename(path: str, to: str) -> None:
  """Moves a checkpoint to where none is."""
  for name in _dense_files(path):
    tf.io.gfile.rename(name, to + name[len(path) :], overwrite=True)
  # With the manifest, so last.
  tf.io.gfile.rename(tables_dir(path), tables_dir(to))


def table_files(path: str) -> Sequence[str]:
  """The files of rows of a checkpoint."""
  return [
    os.path.join(tables_dir(path), name) for name in read_manifest(path)["table_files"]
  ]
