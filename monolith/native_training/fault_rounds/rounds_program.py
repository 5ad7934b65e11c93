"""Programs that play rounds: their command line, the rounds' folders, and how they end.

The exit code is 0 where no round was lost, 1 where one was, and 128 + the signal's
number where a signal ended it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

LIMIT_SECONDS = flags.DEFINE_float(
  "limit_seconds", 180, "A round that takes longer is ended, and lost.", lower_bound=1
)
JSON = flags.DEFINE_string("json", "", "Also write the table to this file, as JSON.")
_KEEP = flags.DEFINE_string(
  "keep", "", "Folder for models and logs of lost rounds. Empty: a temporary one."
)


class RoundFolders:
  """The folder of each round; only those of lost rounds stay.

  Args:
    folder: where they are.
  """

  def __init__(self, folder: str):
    self._folder = folder
    self._unfinished = ""

  def begin(self, name: str) -> str:
    """The folder of a round that begins, which is not made."""
    self._unfinished = os.path.join(self._folder, f"round-{name}")
    return self._unfinished

  def end(self, row: str, is_lost: bool) -> None:
    """Ends the round.

    Args:
      row: what is printed of it.
      is_lost: whether its folder is kept.
    """
    print(row, flush=True)
    if is_lost:
      print(f"      kept in {self._unfinished}", flush=True)
      self._unfinished = ""
    else:
      self.remove_unfinished()

  def remove_unfinished(self) -> None:
    """Removes the folder of a round that has not ended."""
    if self._unfinished:
      shutil.rmtree(self._unfinished, ignore_errors=True)
    self._unfinished = ""


def run(
  argv: Sequence[str], name: str, play: Callable[[RoundFolders, StopSignals], bool]
) -> int:
  """Runs a program.

  Args:
    argv: its arguments.
    name: of its temporary folder.
    play: plays all rounds, and returns whether one was lost.

  Returns:
    The exit code.
  """
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  logging.set_verbosity(logging.ERROR)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # Relative paths are relative to where `bazel run` was called.
  os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
  if _KEEP.value:
    os.makedirs(_KEEP.value, exist_ok=True)
  folder = tempfile.mkdtemp(prefix=f"{name}-", dir=_KEEP.value or None)
  folders = RoundFolders(folder)
  try:
    with StopSignals() as signals:
      return int(play(folders, signals))
  except Stopped as stop:
    print(stop, file=sys.stderr)
    folders.remove_unfinished()
    return 128 + stop.signum
  finally:
    with contextlib.suppress(OSError):  # Not empty: lost rounds are kept.
      os.rmdir(folder)
