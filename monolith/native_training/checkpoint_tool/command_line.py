"""The command line of `//monolith/native_training:checkpoint`."""

import argparse
import contextlib
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
import tqdm

from monolith.native_training.checkpoint_tool import (
  inspection,
  row_export,
  verification,
)
from monolith.native_training.checkpoint_tool.saved_checkpoint import (
  SavedCheckpoint,
  candidates,
  files_of,
)
from monolith.native_training.local_files import closed_pipe
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.training.checkpoints import (
  checkpoint,
  sound_checkpoint,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)

_DIR_HELP = (
  "a model_dir, of which the newest sound checkpoint is taken, or one checkpoint, such "
  "as MODEL_DIR/model.ckpt-300; relative paths count from where the command was typed"
)


@closed_pipe.ends_quietly
def run(arguments: Sequence[str] | None = None) -> int:
  """Runs a command.

  Args:
    arguments: what follows the program's name; default those of the process.

  Returns:
    The exit code: 0, or 1 for an error or something damaged. Wrong usage leaves the
    program with 2, SIGTERM with 143.
  """
  options = _parser().parse_args(arguments)
  # What is written in part goes, as it does with Ctrl-C.
  before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
  try:
    return options.command(options)
  except BrokenPipeError:
    raise
  except KeyboardInterrupt:
    return 130
  except tf.errors.OpError as error:
    return _failed(error.message)
  except (ImportError, LookupError, MemoryError, OSError, ValueError) as error:
    return _failed(str(error) or type(error).__name__)
  finally:
    signal.signal(signal.SIGTERM, before)


def _failed(message: str) -> int:
  _tell(f"error: {' '.join(message.split())}")
  return 1


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="checkpoint", description="Looks into checkpoints.", allow_abbrev=False
  )
  commands = parser.add_subparsers(required=True, metavar="COMMAND")
  as_json = argparse.ArgumentParser(add_help=False)
  as_json.add_argument("--json", action="store_true", help="print JSON, for programs")

  def add(name: str, command: Callable, text: str) -> argparse.ArgumentParser:
    added = commands.add_parser(
      name, parents=[as_json], help=text, description=text, allow_abbrev=False
    )
    added.set_defaults(command=command)
    return added

  inspect = add("inspect", _inspect, "Tells what is in a checkpoint.")
  inspect.add_argument("dir", metavar="DIR", type=_dir, help=_DIR_HELP)
  inspect.add_argument(
    "--largest",
    type=_count,
    default=5,
    metavar="N",
    help="how many rows of the largest norm to name (default 5)",
  )
  verify = add(
    "verify",
    _verify,
    "Reads every byte of checkpoints; says which are damaged, where and why, and exits "
    "with 1 if any is.",
  )
  verify.add_argument(
    "dir",
    metavar="DIR",
    type=_dir,
    help="a model_dir, for all of its checkpoints, or one, such as "
    "MODEL_DIR/model.ckpt-300, with those that it is made from",
  )
  export = add("export", _export, "Writes the rows of a table to a file.")
  export.add_argument("dir", metavar="DIR", type=_dir, help=_DIR_HELP)
  export.add_argument("--table", required=True, metavar="NAME", help="which table")
  export.add_argument(
    "--format", required=True, choices=row_export.FORMATS, help="of the file"
  )
  export.add_argument(
    "--output",
    type=user_path,
    metavar="FILE",
    help="on this machine, replaced if it exists (default NAME.FORMAT in the folder "
    "where the command was typed)",
  )
  export.add_argument(
    "--with_state", action="store_true", help="the optimizer's state as well"
  )
  return parser


def _dir(text: str) -> str:
  if not text:
    raise argparse.ArgumentTypeError("is empty, wanted a folder or a checkpoint")
  return user_path(text)


def _count(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number")
  return int(text)


@contextlib.contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[int], object]]:
  """A bar for bytes, where a person watches."""
  with tqdm.tqdm(
    total=total, desc=what, unit="B", unit_scale=True, disable=None, leave=False
  ) as bar:
    yield bar.update


def _newest_sound(
  target: str, use: Callable[[SavedCheckpoint, Callable], Any], what: str
) -> tuple[Any, str]:
  """Uses the newest checkpoint that can be used, naming others on stderr; the result
  and the checkpoint's path."""
  refused = None
  for path, *older in sound_checkpoint.to_try(
    candidates(target), lambda: candidates(target)
  ):
    try:
      checkpoint.check_dense_files(path)
      saved = SavedCheckpoint(path)
      with _progress(2 * saved.file_bytes, what) as progress:
        return use(saved, progress), path
    except DamagedCheckpointError as error:
      refused = error
      if checkpoint.was_removed(path):
        _tell(f"{path} was removed before it was read")
      elif older:
        _tell(f"{path} is passed over: {error}")
  raise refused


def _tell(message: str) -> None:
  print(f"checkpoint: {message}", file=sys.stderr)


def _inspect(options: argparse.Namespace) -> int:
  def use(saved, progress):
    return inspection.inspect(saved, options.largest, progress)

  report, _ = _newest_sound(options.dir, use, "inspect")
  print(json.dumps(report, indent=2) if options.json else inspection.text_of(report))
  return 0


def _verify(options: argparse.Namespace) -> int:
  paths = candidates(options.dir)
  with _progress(sum(map(_bytes_on_disk, paths)), "verify") as progress:
    verifier = verification.Verifier(progress)
    results = [verifier.verify(path) for path in paths[::-1]]
  for result in results:
    if result.is_removed:
      _tell(f"{result.path} was removed before it was verified")
  results = [result for result in results if not result.is_removed]
  if options.json:
    print(json.dumps([result.as_json() for result in results], indent=2))
  else:
    for result in results:
      print(_line_of(result))
      for problem in [*result.problems, *result.unread]:
        print(f"  {problem}")
  return 0 if all(result.is_sound for result in results) else 1


def _line_of(result: verification.Result) -> str:
  if result.problems:
    return f"{result.path}: damaged"
  if result.unread:
    return f"{result.path}: could not be read"
  erased = f" and {result.erased:,} erased ids" if result.erased else ""
  return (
    f"{result.path}: ok ({result.rows:,} rows{erased}, "
    f"{inspection.bytes_text(result.bytes)} of rows, {result.files} files)"
  )


def _bytes_on_disk(path: str) -> int:
  """Of a checkpoint's files of rows, as far as they can be found."""
  try:
    files = files_of(path, checkpoint.read_manifest(path))
    return sum(int(tf.io.gfile.stat(file).length) for file in files)
  except (OSError, ValueError, tf.errors.OpError):
    return 0


def _export(options: argparse.Namespace) -> int:
  output = options.output
  if output is None:
    # A table's name may have slashes.
    name = re.sub(r"[^\w.-]", "_", options.table)
    output = user_path(f"{name}.{options.format}")

  def use(saved, progress):
    return row_export.export(
      saved, options.table, options.format, output, options.with_state, progress
    )

  rows, path = _newest_sound(options.dir, use, "export")
  if options.json:
    report = {"path": path, "table": options.table, "rows": rows}
    print(json.dumps({**report, "output": output}, indent=2))
  else:
    print(f"{rows:,} rows of table {options.table} of {path}: {output}")
  return 0
