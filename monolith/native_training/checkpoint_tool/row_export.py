"""Writes the rows of a table to a file that other programs read."""

from collections.abc import Callable, Iterator

import numpy as np

from monolith.native_training.checkpoint_tool.saved_checkpoint import SavedCheckpoint
from monolith.native_training.checkpoint_tool.table_records import Rows, Table
from monolith.native_training.local_files import whole_file

FORMATS = ("npz", "parquet")
# Of a row group of Parquet: what is in memory at a time.
_GROUP_BYTES = 64 << 20

Columns = dict[str, np.ndarray]


def export(
  saved: SavedCheckpoint,
  table_name: str,
  kind: str,
  output: str,
  with_state: bool = False,
  progress: Callable[[int], object] = lambda size: None,
) -> int:
  """Writes ids, the embedding of each slice, optimizer state and update times.

  The columns are `ids` (int64), `embedding/SLICE` and `state/SLICE` (float32, a row of
  the slice's width each) and `update_times` (uint32, seconds since 1970). The rows are
  in no order. The file appears, or is replaced, once it is whole.

  Args:
    saved: the checkpoint.
    table_name: of the table.
    kind: `'npz'`, which takes memory for twice the rows, or `'parquet'`.
    output: the file.
    with_state: whether the optimizer's state is wanted.
    progress: see `SavedCheckpoint.rows`.

  Returns:
    How many rows there were.

  Raises:
    LookupError: there is no such table.
    ValueError: a file of the checkpoint is damaged.
    OSError: the file cannot be written.
    ImportError: what writes Parquet is not installed.
  """
  tables = {table.name: table for table in saved.tables}
  if table_name not in tables:
    there = ", ".join(sorted(tables)) or "none at all"
    raise LookupError(f"{saved.path} has no table {table_name!r}, it has {there}")
  table = tables[table_name]
  write = {"npz": _write_npz, "parquet": _write_parquet}[kind]
  blocks = (
    _columns(table, rows, with_state)
    for rows in saved.rows(only=table_name, progress=progress)
    if len(rows.ids)
  )
  with whole_file.replaced(output) as temporary:
    return write(temporary, _columns(table, _no_rows(table), with_state), blocks)


def _no_rows(table: Table) -> Rows:
  return Rows(
    0,
    np.zeros(0, np.int64),
    np.zeros((0, table.dim), np.float32),
    np.zeros((0, table.state_dim), np.float32),
    np.zeros(0, np.uint32),
  )


def _columns(table: Table, rows: Rows, with_state: bool) -> Columns:
  columns = {"ids": rows.ids}
  begin = state_begin = 0
  states = {}
  for segment in table.segments:
    end, state_end = begin + segment.dim, state_begin + segment.state_dim
    columns[f"embedding/{segment.name}"] = rows.embeddings[:, begin:end]
    states[f"state/{segment.name}"] = rows.states[:, state_begin:state_end]
    begin, state_begin = end, state_end
  if with_state:
    columns |= states
  return {**columns, "update_times": rows.update_times}


def _write_npz(path: str, empty: Columns, blocks: Iterator[Columns]) -> int:
  parts = {name: [column] for name, column in empty.items()}
  for block in blocks:
    for name, column in block.items():
      # A column by itself would keep its whole block in memory.
      parts[name].append(column.copy())
  columns = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
  with open(path, "wb") as file:  # Of a name, savez makes one of its own.
    np.savez(file, **columns)
  return len(columns["ids"])


def _write_parquet(path: str, empty: Columns, blocks: Iterator[Columns]) -> int:
  try:
    import pyarrow
    import pyarrow.parquet
  except ImportError as error:
    raise ImportError(
      f"--format=parquet needs the package pyarrow (pip install pyarrow): {error}"
    ) from None

  def arrow_table(columns: Columns) -> pyarrow.Table:
    arrays = {}
    for name, column in columns.items():
      array = pyarrow.array(np.ascontiguousarray(column).reshape(-1))
      if column.ndim == 2:
        width = column.shape[1]
        if width == 0:  # An optimizer without state: Arrow has no lists of width 0.
          continue
        array = pyarrow.FixedSizeListArray.from_arrays(array, width)
      arrays[name] = array
    return pyarrow.table(arrays)

  rows = 0
  schema = arrow_table(empty).schema
  with pyarrow.parquet.ParquetWriter(path, schema) as writer:
    for group in _joined(blocks):
      rows += len(group["ids"])
      writer.write_table(arrow_table(group))
  return rows


def _joined(blocks: Iterator[Columns]) -> Iterator[Columns]:
  """Blocks together, as many as make a group."""
  waiting: list[Columns] = []
  size = 0
  for block in blocks:
    waiting.append(block)
    size += sum(column.nbytes for column in block.values())
    if size >= _GROUP_BYTES:
      yield _concatenated(waiting)
      waiting, size = [], 0
  if waiting:
    yield _concatenated(waiting)


def _concatenated(blocks: list[Columns]) -> Columns:
  return {name: np.concatenate([b[name] for b in blocks]) for name in blocks[0]}
