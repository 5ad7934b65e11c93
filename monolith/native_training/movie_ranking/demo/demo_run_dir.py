"""The folder of a run of the demo, which goes when the run is over.

It is `monolith-demo-MACHINE-PROCESS-NAME` among the temporary files. What is left of a
run that was killed goes with the next one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator

from monolith.native_training.local_files import process_names

_PREFIX = "monolith-demo-"
_NAME = re.compile(rf"{_PREFIX}(?P<machine>\w+)-(?P<process>\d+)-\w+")


@contextlib.contextmanager
def made() -> Iterator[str]:
  """A new folder, which lasts as long as the context."""
  for left in pathlib.Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
    if _was_abandoned(left):
      shutil.rmtree(left, ignore_errors=True)
  folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{process_names.machine()}-{os.getpid()}-")
  try:
    yield folder
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def _was_abandoned(path: pathlib.Path) -> bool:
  """Whether it is a folder of this user's whose process was killed."""
  parts = _NAME.fullmatch(path.name)
  if not parts or not process_names.is_gone(parts["machine"], int(parts["process"])):
    return False
  try:
    status = path.lstat()
  except FileNotFoundError:  # Another run has removed it.
    return False
  return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
