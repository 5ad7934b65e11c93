"""Which folders of a model's base folder are exports.

Those are its numbered folders that hold a SavedModel, or a distributed export's entry.
Whoever writes exports and whoever serves them agree on that here.
"""

import os

import tensorflow as tf

_MAX_NUMBER = 2**63 - 1
_MARKERS = (
  tf.saved_model.SAVED_MODEL_FILENAME_PB,
  tf.saved_model.SAVED_MODEL_FILENAME_PBTXT,
)
ENTRY = "entry"  # The folder of a distributed export that clients ask.


def names(base: str) -> list[str]:
  """What is in a folder.

  Raises:
    tf.errors.OpError: it cannot be read.
  """
  # Of folders, some file systems list names with a slash.
  return [name.rstrip("/") for name in tf.io.gfile.listdir(base)]


def numbers(base: str) -> list[int]:
  """Numbers that are names in a folder, ascending, whatever they name.

  Raises:
    tf.errors.OpError: it cannot be read.
  """
  return sorted(
    int(name)
    for name in names(base)
    # A name such as 007 would be asked for as 7, whose folder is another.
    if name.isascii() and name.isdecimal() and name == str(int(name))
    if int(name) <= _MAX_NUMBER
  )


def is_model(path: str) -> bool:
  """Whether a folder holds a SavedModel."""
  return marker(path) is not None


def marker(path: str) -> str | None:
  """The file by which a folder is a SavedModel; None if it is none."""
  names = (os.path.join(path, name) for name in _MARKERS)
  return next(filter(tf.io.gfile.exists, names), None)


def is_distributed(path: str) -> bool:
  """Whether a folder holds a distributed export."""
  return is_model(os.path.join(path, ENTRY))


def entry(path: str) -> str:
  """The folder of an export's SavedModel that clients ask."""
  return os.path.join(path, ENTRY) if is_distributed(path) else path
