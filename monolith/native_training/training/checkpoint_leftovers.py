"""What saves that did not come to their end have left in a folder of checkpoints."""

import contextlib
import os
import re

import tensorflow as tf
from absl import logging

from monolith.native_training.training import checkpoint, retention

# TensorFlow gathers the parts of dense variables in PATH_temp.
_NAME = re.compile(
  rf"(?P<path>{checkpoint.NAME})"
  r"(?:\.tables|\.index|\.data-\d+-of-\d+|_temp|\.(?:index|data-\d+-of-\d+)\.tempstate\d+)"
)


def remove_incomplete(path: str) -> None:
  """Removes what there is of a checkpoint without a manifest; as far as that is
  possible, which the log says otherwise."""
  folder = os.path.dirname(path)
  with _logged(folder):
    for name, of in _files(folder):
      if of == path:
        _remove_unless_complete(os.path.join(folder, name), of)


def sweep(model_dir: str) -> None:
  """Removes what saves of a chief that was killed have left, and checkpoints of steps
  that it has saved again. Only for a chief that begins: nobody may be saving.

  What cannot be removed is left, which the log says.
  """
  with _logged(model_dir):
    if not tf.io.gfile.isdir(model_dir):
      return
    paths = checkpoint.checkpoints(model_dir)
    kept = retention.newest(paths, len(paths))
    if len(kept) < len(paths):
      needed = retention.needed(paths, len(paths))
      for path in paths:
        if path not in needed:
          checkpoint.remove(path)
    for name, of in _files(model_dir):
      _remove_unless_complete(os.path.join(model_dir, name), of)


def _files(folder: str) -> list[tuple[str, str]]:
  """Names of files and folders that belong to a checkpoint, and its path."""
  names = [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
  matches = [match for name in names if (match := _NAME.fullmatch(name))]
  return [(match[0], os.path.join(folder, match["path"])) for match in matches]


def _remove_unless_complete(name: str, of: str) -> None:
  is_folder = tf.io.gfile.isdir(name)
  if checkpoint.is_complete(of) and not name.endswith("_temp"):
    return
  if name.endswith(("_temp", ".tables")) != is_folder:
    return  # Nothing of ours.
  logging.warning("removing %s, which a save that failed has left", name)
  with _logged(name):
    if is_folder:
      tf.io.gfile.rmtree(name)
    else:
      tf.io.gfile.remove(name)


@contextlib.contextmanager
def _logged(name: str):
  try:
    yield
  # StorageError is an OSError.
  except (OSError, tf.errors.OpError) as error:
    logging.warning("what a save has left in %s cannot be removed: %s", name, error)
