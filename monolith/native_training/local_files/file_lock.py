"""A lock between the processes of one machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator


@contextlib.contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
  """Holds an exclusive lock on a file, which is made if need be and stays.

  The system releases it when the process ends, however it ends.
  """
  with open(path, "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
