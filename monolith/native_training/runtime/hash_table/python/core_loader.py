"""Loads the C++ module `_core` without importing TensorFlow.

The core's Abseil is the one inside TensorFlow's shared library
`libtensorflow_framework`, which by itself needs nothing but the C++ runtime. So
TensorFlow has to be installed, but none of its Python is imported; where the process
imports it as well, before or after, both use the same copy of the library.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import types

_LIBRARY = "libtensorflow_framework.so.2"


def core() -> types.ModuleType:
  """The module.

  Raises:
    ImportError: it was not built, or for another version of TensorFlow.
  """
  library = _library_path()
  if library:
    # By its name, which the module asks for, it is found from now on.
    ctypes.CDLL(library)
  try:
    from monolith.native_training.runtime.hash_table.python import _core
  except ImportError as error:
    raise ImportError(
      f"cannot load Monolith's table: {error}. It is built by Bazel "
      "(//monolith/native_training/runtime/hash_table/python:_core.so) and needs "
      f"{_LIBRARY} of the version of TensorFlow in Bazel's Python environment, for the "
      f"Abseil in it; found {library or 'no installed TensorFlow'}."
    ) from error
  return _core


def _library_path() -> str | None:
  """TensorFlow's library in this Python's packages."""
  tensorflow = importlib.util.find_spec("tensorflow")
  for folder in (tensorflow and tensorflow.submodule_search_locations) or ():
    path = os.path.join(folder, _LIBRARY)
    if os.path.exists(path):
      return path
  return None
