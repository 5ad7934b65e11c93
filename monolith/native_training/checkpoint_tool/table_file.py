"""Reads a file of rows, and says what is wrong with it.

The ops restore files, but into tables that hold all rows in memory, and tell of the
first file that is damaged. To look at a checkpoint larger than this machine, and to
list all that is wrong with it, the records are read here: one at a time, by
TensorFlow's reader, which checks their CRC-32C.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from monolith.native_training.checkpoint_tool import possible_rows, table_records
from monolith.native_training.checkpoint_tool.table_records import (
  Erased,
  Header,
  Rows,
  Table,
  Trials,
)
from monolith.native_training.runtime.hash_table.python import embedding_table
from monolith.native_training.training.checkpoints import checkpoint_errors
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)

_FRAMING_BYTES = 16  # Of a record: its length and two checksums.
_ROWS, _ERASED, _TRIALS, _AGED = b"MTB1", b"MTE1", b"MTT1", b"MTA1"
_FOOTER = b"MTF1"
_AGED_BYTES = 4 + 4 * 4  # tag, table, stripe, buckets, generations

# Without its warning that datasets are to be used instead: they take a thousand times
# as long to open a file, and whoever lets go of their iterators waits for threads.
_records_of = inspect.unwrap(tf.compat.v1.io.tf_record_iterator)


class DamagedFile(DamagedCheckpointError):
  """A file that cannot be used.

  Attributes:
    path: of the file.
    reason: what is wrong.
    byte: where the record that is wrong begins, or None: it is the file as a whole.
  """

  def __init__(self, path: str, reason: str, byte: int | None = None):
    where = "" if byte is None else f" (in the record at byte {byte})"
    super().__init__(f"{path}: {reason}{where}")
    self.path, self.reason, self.byte = path, reason, byte


def _unreadable(
  path: str, error: tf.errors.OpError, byte: int | None = None
) -> DamagedFile | StorageError:
  """What to raise where reading has failed."""
  reason = f"cannot be read ({error.message.splitlines()[0]})"
  damage = DamagedFile(path, reason, byte)
  kind = checkpoint_errors.of_reading(error, str(damage))
  return kind if isinstance(kind, StorageError) else damage


@dataclasses.dataclass
class Counts:
  rows: int = 0
  trials: int = 0
  erased: int = 0


class TableFile:
  """A file of rows, whose header has been read.

  Args:
    path: the file.

  Raises:
    DamagedFile: it is missing, no file of rows, damaged or from a newer version.
    StorageError: it cannot be read.
  """

  def __init__(self, path: str):
    self.path = path
    try:
      self.size = int(tf.io.gfile.stat(path).length)
    except tf.errors.OpError as error:
      raise _unreadable(path, error) from None
    for _, record in self._records():
      self.header = _header(path, record)
      self._possible = [self._possible_of(table) for table in self.header.tables]
      return
    # TensorFlow's reader takes less than a record's length for the end.
    raise DamagedFile(
      path, "it ends within a record" if self.size else "it is empty", 0
    )

  def _possible_of(self, table: Table) -> possible_rows.PossibleRows:
    try:
      return possible_rows.of_config(table.config)
    except ValueError as error:
      raise DamagedFile(
        self.path, f"its header describes a table wrongly: {error}", 0
      ) from None

  def blocks(
    self, progress: Callable[[int], object] = lambda size: None
  ) -> Iterator[Rows | Erased | Trials]:
    """All between header and footer, in order.

    Args:
      progress: is told how many bytes each record had.

    Raises:
      DamagedFile: while iterating, as soon as something is found wrong.
      StorageError: while iterating, where it cannot be read on.
    """
    counts = [Counts() for _ in self.header.tables]
    end = 0
    for offset, record in self._records():
      end = offset + len(record) + _FRAMING_BYTES
      progress(end - offset)
      if offset == 0:
        continue
      if record[:4] == _FOOTER:
        self._check_footer(offset, record, counts)
        break
      block = self._block(offset, record)
      count = counts[block.table]
      if isinstance(block, Rows):
        count.rows += len(block.ids)
      elif isinstance(block, Erased):
        count.erased += len(block.ids)
      else:
        count.trials += len(block.names)
      yield block
    else:
      is_cut = end < self.size
      reason = (
        "within a record" if is_cut else "without a footer, so was never finished"
      )
      raise DamagedFile(self.path, f"it ends {reason}", end)
    if end < self.size:
      raise DamagedFile(self.path, "something follows its footer", end)

  def _records(self) -> Iterator[tuple[int, bytes]]:
    """Records and where they begin."""
    offset = 0
    records = None
    while True:
      try:
        records = records or _records_of(self.path)
        record = next(records)
      except StopIteration:
        return
      except tf.errors.DataLossError as error:
        is_cut = "truncated" in error.message
        reason = "it ends within a record" if is_cut else "a checksum is wrong"
        raise DamagedFile(self.path, reason, offset) from None
      except tf.errors.OpError as error:
        raise _unreadable(self.path, error, offset) from None
      yield offset, record
      offset += len(record) + _FRAMING_BYTES

  def _block(self, offset: int, record: bytes) -> Rows | Erased | Trials:
    def refuse(reason: str):
      raise DamagedFile(self.path, reason, offset)

    columns = {_ROWS: 3, _ERASED: 1, _TRIALS: 3, _AGED: 4}.get(record[:4])
    if columns is None:
      refuse("a record is of no known kind")
    is_aged = record[:4] == _AGED
    head = 4 + 4 * columns + (0 if is_aged else 8)
    if len(record) < head:
      refuse("a record is too short")
    table, *widths = (int(n) for n in np.frombuffer(record, "<u4", columns, 4))
    n = 0 if is_aged else int(np.frombuffer(record, "<u8", 1, head - 8)[0])
    if table >= len(self.header.tables):
      refuse(f"a block is of table {table}, its header has {len(self.header.tables)}")
    shape = self.header.tables[table]
    kind = record[:4]
    if kind == _ROWS and widths != [shape.dim, shape.state_dim]:
      refuse(
        f"a block of table {shape.name} has rows of {widths[0]} + {widths[1]} floats, "
        f"its header says {shape.dim} + {shape.state_dim}"
      )
    if kind in (_TRIALS, _AGED) and widths[0] >= self._possible[table].num_stripes:
      refuse(
        f"ids on trial are of stripe {widths[0]} of table {shape.name}, which has "
        f"{self._possible[table].num_stripes}"
      )
    if kind == _AGED:
      if len(record) != _AGED_BYTES or not 1 <= widths[2] <= table_records.MAX_AGE:
        refuse("how ids on trial have aged is out of range")
      return Trials(table, widths[0], np.zeros(0, np.uint64))
    width = {_ROWS: shape.row_bytes, _ERASED: 8, _TRIALS: table_records.TRIAL_BYTES}[
      kind
    ]
    if len(record) - head != n * width:
      refuse(f"a block has {len(record) - head} bytes, wanted {n} times {width}")
    if kind == _ERASED:
      return Erased(table, np.frombuffer(record, "<i8", n, head))
    if kind == _TRIALS:
      names = table_records.trial_names(record, n, head, num_buckets=widths[1])
      if names is None:
        refuse("an id on trial is out of range")
      return Trials(table, widths[0], names)
    rows = table_records.rows(record, n, head, table, shape)
    columns = (rows.ids, rows.embeddings, rows.states, rows.update_times)
    try:
      self._possible[table].check(embedding_table.Rows(*columns))
    except ValueError as error:
      refuse(str(error))
    return rows

  def _check_footer(self, offset: int, record: bytes, counts: list[Counts]) -> None:
    try:
      footer = json.loads(record[4:])
      none = [0] * len(counts)  # Older versions do not have all of them.
      wanted = [
        Counts(*numbers)
        for numbers in zip(
          footer["rows"],
          footer.get("trials", none),
          footer.get("erased", none),
          strict=True,
        )
      ]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
      raise DamagedFile(self.path, "its footer is not readable", offset) from None
    if wanted != counts:
      raise DamagedFile(
        self.path, f"it has {_text(counts)}, its footer says {_text(wanted)}", offset
      )


def _text(counts: list[Counts]) -> str:
  return ", ".join(
    f"{c.rows} rows, {c.erased} erased ids and {c.trials} ids on trial" for c in counts
  )


def _header(path: str, record: bytes) -> Header:
  try:
    return table_records.header(record)
  except ValueError as error:
    raise DamagedFile(path, str(error), 0) from None
