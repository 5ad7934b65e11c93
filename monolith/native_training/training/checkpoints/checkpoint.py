"""Checkpoints as files: dense variables and embedding tables of one global step.

  model_dir/model.ckpt-STEP.index, .data-*   dense variables, TensorFlow's own format
  model_dir/model.ckpt-STEP.tables/          files of rows from every server
  model_dir/model.ckpt-STEP.tables/manifest.json

A step that is saved again gets another name, model.ckpt-STEP.1, and then .2, so that a
reader never finds less than a whole checkpoint. So does one where another program's
files have the name.

The folder of tables is there before any file of dense variables is, and as long as one:
without it such files are another program's, as TensorFlow's own saver uses these names.

The manifest is written last and renamed into place: a checkpoint without one does not
exist. Rows find their server again by id, so a checkpoint saved by any number of
servers is restored by any other. `runtime/ops/table_files/README.md` describes the
files, and what of a checkpoint is from one moment.

The rows of a checkpoint are all rows, or those that have changed since another, its
base, which then is a part of it: `read_chain`.

A file of rows also has how often ids without a row have occurred, where a table has an
`occurrence_threshold`. They go on from there when as many servers restore it; any other
number of servers takes as many of these counts as each has room for, the latest before
others, because what is kept of an id on trial does not tell its server. With another
`admission_capacity` they begin at 0 again, which the log says.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import tensorflow as tf

from monolith.native_training.training.checkpoints import (
  dense_damage,
  manifest,
  storage,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest

NAME = r"model\.ckpt-(?P<step>\d+)(?:\.(?P<again>\d+))?"

_TABLES = ".tables"
_AT_END = re.compile(r"-(?P<step>\d+)(?:\.(?P<again>\d+))?$")


def path_of(model_dir: str, step: int, again: int = 0) -> str:
  """The path of the checkpoint of a global step, without suffix.

  Args:
    again: how often the step was saved before.
  """
  return os.path.join(model_dir, f"model.ckpt-{step}" + (f".{again}" if again else ""))


def next_path(model_dir: str, step: int) -> str:
  """The path for a new checkpoint of a global step: no complete one has it, nor files
  of another program.

  Raises:
    StorageError: that cannot be seen.
  """
  there = [path for path in checkpoints(model_dir) if step_of(path) == step]
  again = _order(there[-1])[1] + 1 if there else 0
  while _is_foreign(path := path_of(model_dir, step, again)):
    again += 1
  return path


def _is_foreign(path: str) -> bool:
  return not _is_folder(tables_dir(path)) and bool(dense_files(path))


def tables_dir(path: str) -> str:
  """The folder of its tables."""
  return path + _TABLES


def _manifest_path(path: str) -> str:
  return os.path.join(tables_dir(path), manifest.NAME)


def named_by(text: str) -> str:
  """The path of the checkpoint that a person means, who may have typed the name of its
  folder of tables or its index, and slashes at the end."""
  path = text.rstrip("/") or "/"
  for suffix in (_TABLES, ".index"):
    path = path.removesuffix(suffix)
  return path


def step_of(path: str) -> int:
  """The global step in a checkpoint's path."""
  return _order(path)[0]


def _order(path: str) -> tuple[int, int]:
  match = _AT_END.search(path)
  if not match:
    raise ValueError(f"{path!r} is no checkpoint's path, such as DIR/model.ckpt-1000")
  return int(match["step"]), int(match["again"] or 0)


def checkpoints(model_dir: str) -> list[str]:
  """Paths of the complete checkpoints of a folder, oldest first.

  Raises:
    StorageError: the folder cannot be read.
  """
  if not model_dir or not _is_folder(model_dir):
    return []
  there, complete = [], []
  # Until one is complete, or they stay as they are: the chief removes the last one of
  # those that were there when it has made another.
  while not complete:
    before, there = there, _in_folder(model_dir)
    if there == before:
      break
    complete = [path for path in there if is_complete(path)]
  return complete


def _in_folder(model_dir: str) -> list[str]:
  """Paths of its checkpoints, complete or not, oldest first."""
  pattern = re.compile(f"({NAME}){re.escape(_TABLES)}/?")
  with _told_as_unreadable(model_dir):
    names = tf.io.gfile.listdir(model_dir)
  matches = map(pattern.fullmatch, names)
  paths = [os.path.join(model_dir, match[1]) for match in matches if match]
  return sorted(paths, key=_order)


def is_complete(path: str) -> bool:
  """Whether there is a checkpoint at a path, with its manifest.

  Raises:
    StorageError: that cannot be seen.
  """
  with _told_as_unreadable(path):
    return tf.io.gfile.exists(_manifest_path(path))


def was_removed(path: str) -> bool:
  """Whether a checkpoint that was there is no more, as old ones of a running job. No
  where that cannot be seen."""
  try:
    return not is_complete(path)
  except StorageError:
    return False


def _is_folder(path: str) -> bool:
  if tf.io.gfile.isdir(path):
    return True
  # That also says no where storage does not answer.
  with _told_as_unreadable(path), contextlib.suppress(tf.errors.NotFoundError):
    tf.io.gfile.stat(path)
  return False


@contextlib.contextmanager
def _told_as_unreadable(path: str) -> Iterator[None]:
  try:
    yield
  except tf.errors.OpError as error:
    raise StorageError(f"{path}: cannot be read ({error.message})") from None


def latest_checkpoint(model_dir: str) -> str | None:
  """Path of the newest complete checkpoint, without suffix, or None."""
  paths = checkpoints(model_dir)
  return paths[-1] if paths else None


def write_manifest(path: str, content: Manifest) -> None:
  """Makes what lies at a path a checkpoint."""
  manifest.write(_manifest_path(path), content)


def read_manifest(path: str) -> Manifest:
  """The manifest of a checkpoint.

  Raises:
    DamagedCheckpointError: it is none, or from another version.
    StorageError: it cannot be read.
  """
  return manifest.read(_manifest_path(path))


def write_state(model_dir: str, names: Sequence[str]) -> None:
  """Lists checkpoints, oldest first, for TensorFlow's own tools, such as
  `tf.train.latest_checkpoint`: a `CheckpointState` proto as text."""
  lines = [f'model_checkpoint_path: "{names[-1]}"']
  lines += [f'all_model_checkpoint_paths: "{name}"' for name in names]
  storage.replace_file(os.path.join(model_dir, "checkpoint"), "\n".join(lines) + "\n")


def is_final(path: str) -> bool:
  """Whether training ended with this checkpoint."""
  return read_manifest(path).final


def mark(
  path: str, final: bool, data_from_start: bool = False, advice: str = ""
) -> None:
  """Notes that training ended with a checkpoint, or goes on from it after all.

  Args:
    data_from_start: whether what goes on begins its data anew.
    advice: for who reads that it could not be noted.

  Raises:
    StorageError: it could not be noted.
  """
  content = read_manifest(path)
  if (content.final, content.data_from_start) == (final, data_from_start):
    return
  content.final, content.data_from_start = final, data_from_start
  try:
    write_manifest(path, content)
  except (OSError, tf.errors.OpError) as error:
    as_what = "the end of training" if final else "one that training goes on from"
    reason = getattr(error, "message", error)
    raise StorageError(
      f"{path} cannot be marked as {as_what} ({reason}). {advice}"
    ) from None


def begins_data_anew(path: str, in_same_run: bool = False) -> bool:
  """Whether training that goes on from a checkpoint begins its data anew: it had come
  to its end, or nothing was saved since it went on from there.

  Args:
    in_same_run: whether this process has begun to train before, so that no end is that
      of an earlier run.
  """
  content = read_manifest(path)
  return content.data_from_start or (content.final and not in_same_run)


def chain(path: str) -> list[str]:
  """The paths of `read_chain`."""
  return list(read_chain(path))


def read_chain(
  path: str, read: Callable[[str], Manifest] | None = None
) -> dict[str, Manifest]:
  """The checkpoints that a checkpoint is made of: one with all rows, then those with
  what has changed since the one before, up to itself.

  Args:
    read: reads a manifest, given a checkpoint's path; default `read_manifest`.

  Returns:
    Their manifests by their paths, in that order.

  Raises:
    DamagedCheckpointError: one is missing, damaged, or not the one that the next was
      made from.
    StorageError: one cannot be read.
  """
  read = read or read_manifest
  content = read(path)
  contents = {path: content}
  while content.base:
    base = os.path.join(os.path.dirname(path), content.base)
    try:
      base_content = read(base)
    except DamagedCheckpointError:
      if is_complete(base):
        raise
      raise DamagedCheckpointError(
        f"checkpoint {path} has only the rows changed since {base}, which is "
        "missing or not complete"
      ) from None
    if base_content.save_id != content.base_save_id:
      raise DamagedCheckpointError(
        f"checkpoint {path} has only the rows changed since save "
        f"{content.base_save_id}, but {base} is save {base_content.save_id}"
      )
    if base in contents:
      raise DamagedCheckpointError(f"checkpoint {base} is made from itself")
    contents[base] = content = base_content
  return dict(reversed(contents.items()))


def table_files(path: str) -> list[str]:
  """The files of rows of a checkpoint, those of its base first."""
  return files_of_rows(read_chain(path))


def files_of_rows(contents: Mapping[str, Manifest]) -> list[str]:
  """The files of rows of checkpoints.

  Args:
    contents: manifests by the checkpoints' paths.
  """
  return [
    os.path.join(tables_dir(path), name)
    for path, content in contents.items()
    for name in content.table_files
  ]


def saves_of_rows(contents: Mapping[str, Manifest]) -> list[str]:
  """The `save_id` that each of `files_of_rows` must have."""
  return [content.save_id for content in contents.values() for _ in content.table_files]


def dense_files(path: str) -> list[str]:
  """The files of a checkpoint's dense variables."""
  folder, prefix = os.path.split(path)
  if not tf.io.gfile.isdir(folder):
    return []
  return [
    os.path.join(folder, name)
    for name in sorted(tf.io.gfile.listdir(folder))
    if name == f"{prefix}.index" or name.startswith(f"{prefix}.data-")
  ]


def check_dense_files(path: str) -> None:
  """Checks that the files of the dense variables are as they were written.

  Raises:
    DamagedCheckpointError: naming one that is not.
    StorageError: one cannot be read.
  """
  for suffix, digest in read_manifest(path).dense_files.items():
    check_dense_file(path, suffix, digest)


def check_dense_file(path: str, suffix: str, digest: str) -> None:
  """Checks one of them.

  Args:
    path: of the checkpoint.
    suffix: what follows it in the file's name.
    digest: what its manifest says.

  Raises:
    DamagedCheckpointError: it is another, or missing; the message names variables whose
      values are damaged.
    StorageError: it cannot be read.
  """
  try:
    manifest.check_digest(path + suffix, digest)
  except DamagedCheckpointError as error:
    if place := dense_damage.place(path):
      raise DamagedCheckpointError(f"{error}; the damage is {place}") from None
    raise


def remove(path: str) -> None:
  """Removes a checkpoint, or what there is of one."""
  # The manifest first: what is half removed is no checkpoint any more. Its folder last:
  # it tells whose the rest is.
  if is_complete(path):
    tf.io.gfile.remove(_manifest_path(path))
  for name in dense_files(path):
    tf.io.gfile.remove(name)
  if tf.io.gfile.isdir(tables_dir(path)):
    tf.io.gfile.rmtree(tables_dir(path))


def rename(path: str, to: str) -> None:
  """Moves a checkpoint to where none is."""
  for name in dense_files(path):
    tf.io.gfile.rename(name, to + name[len(path) :], overwrite=True)
  # With the manifest, so last.
  tf.io.gfile.rename(tables_dir(path), tables_dir(to))
