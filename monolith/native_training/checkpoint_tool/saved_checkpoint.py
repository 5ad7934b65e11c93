"""A checkpoint as it lies in storage: which one is meant, its files and its rows."""

import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from monolith.native_training.checkpoint_tool.table_file import DamagedFile, TableFile
from monolith.native_training.checkpoint_tool.table_records import (
  Erased,
  Header,
  Rows,
  Table,
  Trials,
)
from monolith.native_training.training.checkpoints import checkpoint, manifest
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)


def candidates(target: str) -> list[str]:
  """The checkpoints that a person may mean.

  Args:
    target: a model_dir: all of it that are complete; or the path of one checkpoint,
      such as `MODEL_DIR/model.ckpt-300`.

  Returns:
    Paths without suffix, newest first, at least one.

  Raises:
    ValueError: there is none.
  """
  target = target.rstrip("/") or "/"
  path = checkpoint.named_by(target)
  if tf.io.gfile.isdir(checkpoint.tables_dir(path)):
    if not checkpoint.is_complete(path):
      raise ValueError(
        f"{path} is no complete checkpoint: its folder {checkpoint.tables_dir(path)} "
        "has no manifest"
      )
    return [path]
  if not tf.io.gfile.isdir(target):
    raise ValueError(f"{target}: there is no such folder or checkpoint")
  paths = checkpoint.checkpoints(target)
  if not paths:
    raise ValueError(
      f"{target}: there is no complete checkpoint in it, none has a "
      f"model.ckpt-STEP.tables/{manifest.NAME}"
    )
  return paths[::-1]


def files_of(path: str, content: manifest.Manifest) -> list[str]:
  """The files of rows of one checkpoint, those of its base left out."""
  return [os.path.join(checkpoint.tables_dir(path), n) for n in content.table_files]


def check_save(path: str, content: manifest.Manifest, headers: list[Header]) -> None:
  """Checks that files of rows are those that a manifest wants.

  Args:
    path: of the checkpoint.
    content: its manifest.
    headers: of its files of rows, in its order.

  Raises:
    DamagedFile: naming the one that is wrong.
  """
  seen = {}
  for file, header in zip(files_of(path, content), headers, strict=True):
    save = (header.save_id, header.base)
    if save != (content.save_id, content.base_save_id):
      raise DamagedFile(
        file,
        f"it is of save {header.save_id or 'none'} with the changes since "
        f"{header.base or 'ever'}, its manifest wants save {content.save_id} with "
        f"those since {content.base_save_id or 'ever'}",
      )
    first = headers[0]
    if header.tables != first.tables or [t.name for t in header.tables] != list(
      content.tables
    ):
      raise DamagedFile(file, "its tables are not those of its manifest and its save")
    if (header.shard[1], header.file[1]) != (first.shard[1], first.file[1]):
      raise DamagedFile(file, "it is one of another number of files than others are")
    place = (header.shard[0], header.file[0])
    if place in seen:
      raise DamagedFile(file, f"it is the same part of its save as {seen[place]}")
    seen[place] = file
  if headers and len(seen) != headers[0].shard[1] * headers[0].file[1]:
    raise DamagedFile(
      os.path.join(checkpoint.tables_dir(path), manifest.NAME),
      f"it names {len(seen)} files of rows, but the save has "
      f"{headers[0].shard[1] * headers[0].file[1]}",
    )


@dataclasses.dataclass
class Link:
  """One checkpoint of a chain."""

  path: str
  manifest: manifest.Manifest
  files: list[TableFile]

  @property
  def file_bytes(self) -> int:
    """Of its files of rows."""
    return sum(file.size for file in self.files)


class SavedCheckpoint:
  """A checkpoint and those that it is made from, whose headers fit each other.

  Args:
    path: without suffix.

  Raises:
    DamagedCheckpointError: a file is missing, damaged or not of this checkpoint.
    StorageError: one cannot be read.
  """

  def __init__(self, path: str):
    self.path = path
    self.links = []
    for each, content in checkpoint.read_chain(path).items():
      files = [TableFile(file) for file in files_of(each, content)]
      check_save(each, content, [file.header for file in files])
      self.links.append(Link(each, content, files))
      first = self.links[0]
      if _widths(self.links[-1]) != _widths(first):
        raise DamagedCheckpointError(
          f"{each} has other tables than {first.path}, its base"
        )

  @property
  def manifest(self) -> manifest.Manifest:
    return self.links[-1].manifest

  @property
  def tables(self) -> tuple[Table, ...]:
    files = self.links[-1].files
    return files[0].header.tables if files else ()

  @property
  def file_bytes(self) -> int:
    """Of all files of rows."""
    return sum(link.file_bytes for link in self.links)

  def rows(
    self, only: str | None = None, progress: Callable[[int], object] = lambda size: None
  ) -> Iterator[Rows]:
    """Every row that the checkpoint has, once; in no order.

    Takes memory for a block of rows, the ids of a file, and those of increments. Files
    are read twice.

    Args:
      only: the name of a table to pass all others over.
      progress: is told how many bytes have been read; 2 * `file_bytes` in all.

    Raises:
      DamagedFile: while iterating.
    """
    # Newest first: an id that a newer save names is not what older ones say.
    newer = [_NO_IDS for _ in self.tables]
    for link in self.links[::-1]:
      named = [[] for _ in self.tables]
      for file in link.files:
        wanted = [only in (None, table.name) for table in file.header.tables]
        last = _LastNamed(file, wanted, progress)
        for number, block in enumerate(file.blocks(progress)):
          if not isinstance(block, Rows) or not wanted[block.table]:
            continue
          keep = last.is_in(block, number)
          keep &= ~_are_in(newer[block.table], block.ids)
          yield block if keep.all() else block.where(keep)
        if link is not self.links[0]:
          for of_link, ids in zip(named, last.ids, strict=True):
            of_link.append(ids)
      newer = [
        np.unique(np.concatenate([ids, *of_link]))
        for ids, of_link in zip(newer, named, strict=True)
      ]

  def trials(self) -> list[int]:
    """How many ids of each table are on trial, at most: one that has got a row or was
    forgotten after the last save of everything counts as well."""
    counts = [0 for _ in self.tables]
    if not any(table.occurrence_threshold for table in self.tables):
      return counts
    files = []
    for link in self.links:
      if all(file.header.has_all_trials for file in link.files):
        files = []
      files += link.files
    # A server at a time: its trials have to be in memory.
    for shard in sorted({file.header.shard for file in files}):
      names = {}
      for file in files:
        for block in file.blocks() if file.header.shard == shard else ():
          if isinstance(block, Trials):
            names.setdefault((block.table, block.stripe), []).append(block.names)
      for (table, _), of_stripe in names.items():
        counts[table] += len(np.unique(np.concatenate(of_stripe)))
    return counts


_NO_IDS = np.zeros(0, np.int64)


def _are_in(named: np.ndarray, ids: np.ndarray) -> np.ndarray:
  """Which ids are among others, bool `[n]`; at a cost in proportion to `n`.

  Args:
    named: int64, sorted.
    ids: int64 `[n]`.
  """
  places = np.searchsorted(named, ids)
  found = places < len(named)
  found[found] = named[places[found]] == ids[found]
  return found


class _LastNamed:
  """Where a file names each id last: it may be erased and have a row again, and a row
  that came, went and came while its part of the table was saved is there twice.

  Attributes:
    ids: of each table, int64, sorted.
  """

  def __init__(
    self, file: TableFile, wanted: list[bool], progress: Callable[[int], object]
  ):
    blocks = [[] for _ in wanted]
    for number, block in enumerate(file.blocks(progress)):
      if isinstance(block, Rows | Erased) and wanted[block.table]:
        # Ids by themselves would keep their whole block in memory.
        blocks[block.table].append((number, block.ids.copy()))
    self.ids, self._blocks, self._places = [], [], []
    for of_table in blocks:
      ids = np.concatenate([_NO_IDS, *(ids for _, ids in of_table)])
      # The first place from behind is the last one.
      unique, from_behind = np.unique(ids[::-1], return_index=True)
      is_last = np.zeros(len(ids), bool)
      is_last[len(ids) - 1 - from_behind] = True
      self.ids.append(unique)
      begins, begin = {}, 0
      for number, block_ids in of_table:
        begins[number] = begin
        begin += len(block_ids)
      self._blocks.append(begins)
      self._places.append(is_last)

  def is_in(self, rows: Rows, number: int) -> np.ndarray:
    """Which rows of the file's block of a number are the last that it says of an id."""
    begin = self._blocks[rows.table][number]
    return self._places[rows.table][begin : begin + len(rows.ids)].copy()


def _widths(link: Link) -> list:
  tables = link.files[0].header.tables if link.files else ()
  return [(t.name, [(s.name, s.dim, s.state_dim) for s in t.segments]) for t in tables]
