"""What saves that did not come to their end have left in a folder of checkpoints."""

import contextlib
import os
import re

import tensorflow as tf
from absl import logging

from monolith.native_training.training.checkpoints import checkpoint

_TABLES = ".tables"
# TensorFlow gathers the parts of dense variables in PATH_temp.
_UNFINISHED = r"_temp|\.(?:index|data-\d+-of-\d+)\.tempstate\d+"
_NAME = re.compile(
  rf"(?P<path>{checkpoint.NAME})"
  rf"(?:{re.escape(_TABLES)}|\.index|\.data-\d+-of-\d+|(?P<unfinished>{_UNFINISHED}))"
)


def remove_incomplete(path: str) -> None:
  """Removes what there is of a checkpoint without a manifest; as far as that is
  possible, which the log says otherwise."""
  folder = os.path.dirname(path)
  with _logged(folder):
    matches = _files(folder).get(os.path.basename(path), [])
    if _is_ours(path) and not checkpoint.is_complete(path):
      _remove(folder, matches)


def sweep(model_dir: str) -> None:
  """Removes what saves have left, for a chief that begins, because one that was killed
  may not have done so. Of a step that was saved again all stay: which of them is sound
  is not known yet.

  What cannot be removed is left, and so are files of other programs that have names as
  ours; the log says both.
  """
  remove_leftovers(model_dir)
  with _logged(model_dir):
    if not tf.io.gfile.isdir(model_dir):
      return
    _tell_of_foreign(model_dir)


def remove_leftovers(model_dir: str) -> None:
  """Removes files of checkpoints without a manifest: of saves that failed or were
  killed, and of old checkpoints that storage did not let be removed whole. Nobody may
  be saving.

  What cannot be removed is left, which the log says.
  """
  with _logged(model_dir):
    if not tf.io.gfile.isdir(model_dir):
      return
    for name, matches in _files(model_dir).items():
      path = os.path.join(model_dir, name)
      if not _is_ours(path):
        continue
      if checkpoint.is_complete(path):
        matches = [match for match in matches if match["unfinished"]]
      _remove(model_dir, matches)


def _files(folder: str) -> dict[str, list[re.Match[str]]]:
  """Names of files and folders that may belong to a checkpoint, by its name."""
  files: dict[str, list[re.Match[str]]] = {}
  for name in sorted(tf.io.gfile.listdir(folder)):
    if match := _NAME.fullmatch(name.rstrip("/")):
      files.setdefault(match["path"], []).append(match)
  return files


def _is_ours(path: str) -> bool:
  """Whether files at a path are of a save of ours, not of another saver of
  TensorFlow's: one of ours makes this folder first, and it is removed last."""
  return tf.io.gfile.isdir(checkpoint.tables_dir(path))


def _tell_of_foreign(model_dir: str) -> None:
  foreign = [
    name for name in _files(model_dir) if not _is_ours(os.path.join(model_dir, name))
  ]
  if foreign:
    logging.warning(
      "%s has files of another program, which are left alone: those of %s, beside "
      "which there is no folder NAME%s",
      model_dir,
      ", ".join(sorted(foreign)),
      _TABLES,
    )


def _remove(folder: str, matches: list[re.Match[str]]) -> None:
  """Removes files and folders of one checkpoint; its tables last, if all others are
  removed, because they tell whose these are."""
  tables = [match for match in matches if match[0].endswith(_TABLES)]
  others = [match for match in matches if match not in tables]
  # Not `all` of a generator: one that fails keeps no other.
  if all([_removed(os.path.join(folder, match[0])) for match in others]):
    for match in tables:
      _removed(os.path.join(folder, match[0]))


def _removed(name: str) -> bool:
  """Removes a file or folder; returns whether it is gone, or was nothing of ours."""
  is_folder = tf.io.gfile.isdir(name)
  if name.endswith(("_temp", _TABLES)) != is_folder:
    return True
  logging.warning("removing %s, which a save that failed has left", name)
  with _logged(name):
    if is_folder:
      tf.io.gfile.rmtree(name)
    else:
      tf.io.gfile.remove(name)
    return True
  return False


@contextlib.contextmanager
def _logged(name: str):
  try:
    yield
  # StorageError is an OSError.
  except (OSError, tf.errors.OpError) as error:
    logging.warning("what a save has left in %s cannot be removed: %s", name, error)
