"""A file that a run writes later, checked at its beginning."""

from __future__ import annotations

import os
import tempfile

from monolith.native_training.local_files import whole_file


def prepare(path: str, flag: str) -> None:
  """Removes an older result, and tells now what would be in the way later.

  Args:
    path: the file; `""` is none.
    flag: what error messages call it.

  Raises:
    ValueError: the file cannot be written.
  """
  if not path:
    return
  if os.path.isdir(path):
    raise ValueError(f"{flag}: {path} is a folder, wanted a file")
  if whole_file.is_no_file(path):
    if not os.access(path, os.W_OK):
      raise ValueError(f"{flag}: {path} cannot be written")
    return
  path = os.path.realpath(path)
  folder = os.path.dirname(path)
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
    if os.path.exists(path):
      os.remove(path)
  except OSError as error:
    raise ValueError(f"{flag}: cannot write in folder {folder}: {error}") from error
