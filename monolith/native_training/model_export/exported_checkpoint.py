"""Which checkpoint an export is of, as a file beside its SavedModel says."""

import json
import os

import tensorflow as tf

from monolith.native_training.model_export import numbered_exports
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.manifest import Manifest

_NAME = "checkpoint.json"


def write(folder: str, path: str, content: Manifest) -> None:
  """Notes in the folder of a SavedModel which checkpoint it is of."""
  text = json.dumps(
    {
      "checkpoint": os.path.basename(path),
      "global_step": content.global_step,
      "save_id": content.save_id,
    }
  )
  with tf.io.gfile.GFile(os.path.join(folder, _NAME), "w") as file:
    file.write(f"{text}\n")


def is_exported(path: str, base: str) -> bool:
  """Whether an export in a folder, which may be missing, is of a checkpoint.

  Raises:
    DamagedCheckpointError: the checkpoint is none.
    StorageError: it cannot be read.
    tf.errors.OpError: the folder cannot be read.
  """
  if not tf.io.gfile.exists(base):
    return False
  wanted = checkpoint.read_manifest(path).save_id
  folders = (
    numbered_exports.entry(os.path.join(base, str(number)))
    for number in reversed(numbered_exports.numbers(base))
  )
  return any(_save_id(folder) == wanted for folder in folders)


def _save_id(folder: str) -> str | None:
  """That of an export's checkpoint; None where it does not say."""
  try:
    with tf.io.gfile.GFile(os.path.join(folder, _NAME)) as file:
      return json.load(file)["save_id"]
  except (tf.errors.OpError, ValueError, TypeError, KeyError):
    return None
