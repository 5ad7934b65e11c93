"""Reads every byte of checkpoints and lists what is wrong."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from monolith.native_training.checkpoint_tool.saved_checkpoint import (
  check_save,
  files_of,
)
from monolith.native_training.checkpoint_tool.table_file import DamagedFile, TableFile
from monolith.native_training.checkpoint_tool.table_records import Erased, Header, Rows
from monolith.native_training.training.checkpoints import checkpoint, manifest
from monolith.native_training.training.checkpoints.checkpoint_errors import StorageError


@dataclasses.dataclass
class Result:
  """What was found of one checkpoint.

  Attributes:
    path: without suffix.
    problems: what is wrong; none is a sound checkpoint.
    unread: what storage says of files that could not be read, and may be sound.
    files, bytes: how many were read.
    rows, erased: how many its own files have.
    is_removed: whether the chief has removed it meanwhile, so that nothing else says
      anything of it.
  """

  path: str
  problems: list[DamagedFile] = dataclasses.field(default_factory=list)
  unread: list[str] = dataclasses.field(default_factory=list)
  files: int = 0
  bytes: int = 0
  rows: int = 0
  erased: int = 0
  is_removed: bool = False

  @property
  def is_sound(self) -> bool:
    return not self.problems and not self.unread

  def as_json(self) -> dict[str, Any]:
    problems = [
      {"file": p.path, "byte": p.byte, "reason": p.reason} for p in self.problems
    ]
    fields = ("path", "files", "bytes", "rows", "erased")
    values = {name: getattr(self, name) for name in fields}
    values.update(ok=self.is_sound, problems=problems, unread=self.unread)
    return values


class Verifier:
  """Verifies checkpoints, each once however many are made from it.

  Args:
    progress: is told how many bytes of files of rows have been read.
  """

  def __init__(self, progress: Callable[[int], object] = lambda size: None):
    self._progress = progress
    self._results: dict[str, Result] = {}

  def verify(self, path: str) -> Result:
    """Reads a checkpoint and those that it is made from."""
    if path not in self._results:
      result = self._results[path] = Result(path)
      try:
        content = checkpoint.read_manifest(path)
      except ValueError as error:
        result.problems.append(_of_manifest(path, str(error)))
      except StorageError as error:
        result.unread.append(str(error))
      else:
        self._read_dense_files(result, content)
        self._read_table_files(result, content)
        self._check_base(result, content)
      if not result.is_sound and checkpoint.was_removed(path):
        self._results[path] = Result(path, is_removed=True)
    return self._results[path]

  def _read_dense_files(self, result: Result, content: manifest.Manifest) -> None:
    for suffix, digest in content.dense_files.items():
      file = result.path + suffix
      result.files += 1
      try:
        checkpoint.check_dense_file(result.path, suffix, digest)
      except ValueError as error:
        reason = str(error).removeprefix(file).lstrip(": ")
        result.problems.append(DamagedFile(file, reason))
      except StorageError as error:
        result.unread.append(str(error))

  def _read_table_files(self, result: Result, content: manifest.Manifest) -> None:
    headers: list[Header] = []
    for name in files_of(result.path, content):
      try:
        file = TableFile(name)
        headers.append(file.header)
        result.files += 1
        result.bytes += file.size
        for block in file.blocks(self._progress):
          if isinstance(block, Rows):
            result.rows += len(block.ids)
          elif isinstance(block, Erased):
            result.erased += len(block.ids)
      except DamagedFile as damage:
        result.problems.append(damage)
      except StorageError as error:
        result.unread.append(str(error))
    if not result.is_sound:
      return  # Counts and parts are bound to be wrong.
    try:
      check_save(result.path, content, headers)
    except DamagedFile as damage:
      result.problems.append(damage)
      return
    got, wanted = (result.rows, result.erased), (content.rows, content.erased)
    if got != wanted:
      reason = "it says {} rows and {} erased ids, its files have {} and {}"
      result.problems.append(_of_manifest(result.path, reason.format(*wanted, *got)))

  def _check_base(self, result: Result, content: manifest.Manifest) -> None:
    if not content.base:
      return
    try:
      # Of the whole chain, which may also lead back to itself.
      checkpoint.chain(result.path)
    except ValueError as error:
      result.problems.append(_of_manifest(result.path, str(error)))
      return
    except StorageError as error:
      result.unread.append(str(error))
      return
    base = self.verify(os.path.join(os.path.dirname(result.path), content.base))
    if base.problems or base.is_removed:
      what = "was removed" if base.is_removed else "is damaged"
      reason = f"it is made from {base.path}, which {what}"
      result.problems.append(_of_manifest(result.path, reason))
    elif base.unread:
      result.unread.append(
        f"{result.path}: it is made from {base.path}, which could not be read"
      )


def _of_manifest(path: str, reason: str) -> DamagedFile:
  file = os.path.join(checkpoint.tables_dir(path), manifest.NAME)
  return DamagedFile(file, reason.removeprefix(f"{file}: "))
