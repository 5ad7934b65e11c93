"""A lock between the processes of one machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator

_POLL_SECONDS = 0.1


@contextlib.contextmanager
def locked(
  path: str | os.PathLike[str], check: Callable[[], object] | None = None
) -> Iterator[None]:
  """Holds an exclusive lock on a file, which is made if need be and stays.

  The system releases it when the process ends, however it ends.

  Args:
    path: the file.
    check: called again and again while another has it; ends waiting by what it raises.
  """
  with open(path, "a") as file:
    while check:
      with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
      check()
      time.sleep(_POLL_SECONDS)
    else:
      fcntl.flock(file, fcntl.LOCK_EX)
    yield
