"""A file that a run writes at its end, checked at its beginning."""

from __future__ import annotations

import contextlib
import os
import tempfile


def prepare(path: str, flag: str) -> None:
  """Removes an older result, and tells now what would be in the way at the end.

  Args:
    path: the file; `""` is none.
    flag: what error messages call it.

  Raises:
    ValueError: the file cannot be written.
  """
  if not path:
    return
  folder = os.path.dirname(os.path.abspath(path))
  if os.path.isdir(path):
    raise ValueError(f"{flag}: {path} is a folder, wanted a file")
  try:
    with tempfile.TemporaryFile(dir=folder):
      pass
    with contextlib.suppress(FileNotFoundError):
      os.remove(path)
  except OSError as error:
    raise ValueError(f"{flag}: cannot write in folder {folder}: {error}") from error
