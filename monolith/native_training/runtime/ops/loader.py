"""Loads the library of Monolith's TensorFlow ops.

>>> from monolith.native_training.runtime.ops import loader
>>> ops = loader.ops()
>>> sorted(name for name in dir(ops) if name == 'monolith_lookup')
['monolith_lookup']
"""

import os
import threading
import types

import tensorflow as tf

_LIBRARY = "_monolith_ops.so"
_BUILT_FOR = "built_for_tensorflow.txt"
_FOLDER = os.path.dirname(os.path.abspath(__file__))

_lock = threading.Lock()
_ops: types.ModuleType | None = None


def ops() -> types.ModuleType:
  """Returns the ops, such as `ops().monolith_lookup`; loads them at first use.

  Thread-safe.

  Raises:
    ImportError: As `load`.
  """
  global _ops
  with _lock:
    if _ops is None:
      _ops = load(_FOLDER)
    return _ops


def load(folder: str) -> types.ModuleType:
  """Loads the library of a folder.

  Args:
    folder: Where the library and the file with its TensorFlow version are.

  Returns:
    A module with one function per op.

  Raises:
    ImportError: If there is no library, it does not load, or it was built for
      another minor version of TensorFlow, whose C++ interface may differ.
  """
  library = os.path.join(folder, _LIBRARY)
  if not os.path.exists(library):
    raise ImportError(
      f"Monolith's ops are missing: no file {library}. Build them with Bazel "
      "(//monolith/native_training/runtime/ops:_monolith_ops.so), and run the program "
      "with Bazel, which puts them there."
    )
  built_for = _built_for(folder)
  other_version = (
    f"Monolith's ops were built for TensorFlow {built_for}, running {tf.__version__}. "
    f"Install TensorFlow {built_for}, or build the ops again with the one that is "
    "running."
  )
  if built_for is not None and _minor(built_for) != _minor(tf.__version__):
    raise ImportError(other_version)
  try:
    return tf.load_op_library(library)
  except tf.errors.OpError as error:
    if built_for not in (None, tf.__version__):
      raise ImportError(f"{other_version} ({error.message})") from error
    raise ImportError(f"cannot load Monolith's ops: {error.message}") from error


def _minor(version: str) -> list[str]:
  return version.split(".")[:2]


def _built_for(folder: str) -> str | None:
  try:
    with open(os.path.join(folder, _BUILT_FOR), encoding="utf-8") as file:
      return file.read().strip()
  except OSError:
    return None
