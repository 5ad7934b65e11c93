"""Reads a file of rows: the format of `runtime/ops/table_files/table_file_format.h`.

The ops restore files, but into tables that hold all rows in memory, and tell of the
first file that is damaged. To look at a checkpoint larger than this machine, and to
list all that is wrong with it, the records are read here: one at a time, by
TensorFlow's reader, which checks their CRC-32C.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from monolith.native_training.training import checkpoint_errors
from monolith.native_training.training.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)

_NEWEST_VERSION = 4
_FIRST_WITH_CHANGED_TRIALS = 4
_FRAMING_BYTES = 16  # Of a record: its length and two checksums.
_ROWS, _ERASED, _TRIALS, _AGED = b"MTB1", b"MTE1", b"MTT1", b"MTA1"
_FOOTER = b"MTF1"
_AGED_BYTES = 4 + 4 * 4  # tag, table, stripe, buckets, generations
_TRIAL_BYTES = 4 + 4 + 2 + 1  # bucket, fingerprint, occurrences, age
_FINGERPRINT_BITS, _MAX_AGE = 20, 14


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


@dataclasses.dataclass(frozen=True)
class Segment:
  """A slice of a table's rows; `state_dim` floats of it are the optimizer's."""

  name: str
  dim: int
  state_dim: int
  initializer: dict[str, Any]
  optimizer: dict[str, Any]
  compressor: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
  """What a header says of a table."""

  name: str
  segments: tuple[Segment, ...]
  occurrence_threshold: int
  expire_time: float  # days

  @property
  def dim(self) -> int:
    return sum(segment.dim for segment in self.segments)

  @property
  def state_dim(self) -> int:
    return sum(segment.state_dim for segment in self.segments)

  @property
  def row_bytes(self) -> int:
    """What a row takes in a file: id, floats and update time."""
    return 8 + 4 * (self.dim + self.state_dim) + 4


@dataclasses.dataclass(frozen=True)
class Header:
  """A file's first record. `shard` and `file` are an index and a count."""

  shard: tuple[int, int]
  save_id: str
  base: str
  file: tuple[int, int]
  tables: tuple[Table, ...]
  version: int = _NEWEST_VERSION

  @property
  def has_all_trials(self) -> bool:
    """Not only those that have changed since the base."""
    return not self.base or self.version < _FIRST_WITH_CHANGED_TRIALS


@dataclasses.dataclass(frozen=True)
class Rows:
  """Rows of one table.

  Attributes:
    table: its position in the header.
    ids: int64 `[n]`.
    embeddings: float32 `[n, dim]`.
    states: float32 `[n, state_dim]`.
    update_times: uint32 `[n]`, seconds since 1970.
  """

  table: int
  ids: np.ndarray
  embeddings: np.ndarray
  states: np.ndarray
  update_times: np.ndarray

  def where(self, mask: np.ndarray) -> "Rows":
    """Those of a mask, bool `[n]`."""
    columns = (self.ids, self.embeddings, self.states, self.update_times)
    return Rows(self.table, *(column[mask] for column in columns))


@dataclasses.dataclass(frozen=True)
class Erased:
  """Ids, int64 `[n]`, that lost their row."""

  table: int
  ids: np.ndarray


@dataclasses.dataclass(frozen=True)
class Trials:
  """Ids without a row whose occurrences are counted; none where a record only tells how
  others have aged.

  Attributes:
    table: its position in the header.
    stripe: the part of the table.
    names: uint64 `[n]`, what is known of each, which no other of the stripe has.
  """

  table: int
  stripe: int
  names: np.ndarray


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
    for offset, record in self._records():
      self.header = _header(path, offset, record)
      return
    # TensorFlow's reader takes less than a record's length for the end.
    raise DamagedFile(
      path, "it ends within a record" if self.size else "it is empty", 0
    )

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
    records = tf.data.TFRecordDataset(self.path).as_numpy_iterator()
    while True:
      try:
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
    if kind == _AGED:
      if len(record) != _AGED_BYTES or not 1 <= widths[2] <= _MAX_AGE:
        refuse("how ids on trial have aged is out of range")
      return Trials(table, widths[0], np.zeros(0, np.uint64))
    width = {_ROWS: shape.row_bytes, _ERASED: 8, _TRIALS: _TRIAL_BYTES}[kind]
    if len(record) - head != n * width:
      refuse(f"a block has {len(record) - head} bytes, wanted {n} times {width}")
    if kind == _ERASED:
      return Erased(table, np.frombuffer(record, "<i8", n, head))
    if kind == _TRIALS:
      names = _trials(record, n, head, num_buckets=widths[1])
      if names is None:
        refuse("an id on trial is out of range")
      return Trials(table, widths[0], names)
    rows = _rows(record, n, head, table, shape)
    for what, values in (("embedding", rows.embeddings), ("state", rows.states)):
      bad = ~np.isfinite(values).all(axis=1)
      if bad.any():
        refuse(f"table {shape.name}: the {what} of id {rows.ids[bad][0]} is not finite")
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


def _rows(record: bytes, n: int, at: int, table: int, shape: Table) -> Rows:
  columns = []
  for dtype, width in (
    ("<i8", None),
    ("<f4", shape.dim),
    ("<f4", shape.state_dim),
    ("<u4", None),
  ):
    column = np.frombuffer(record, dtype, n * (1 if width is None else width), at)
    at += column.nbytes
    columns.append(column if width is None else column.reshape(n, width))
  return Rows(table, *columns)


def _trials(record: bytes, n: int, at: int, num_buckets: int) -> np.ndarray | None:
  """Their names; None if they cannot be."""
  buckets = np.frombuffer(record, "<u4", n, at)
  fingerprints = np.frombuffer(record, "<u4", n, at + 4 * n)
  ages = np.frombuffer(record, "u1", n, at + (_TRIAL_BYTES - 1) * n)
  if not (
    (buckets < num_buckets).all()
    and (fingerprints >> _FINGERPRINT_BITS == 0).all()
    and (ages <= _MAX_AGE).all()
  ):
    return None
  return buckets.astype(np.uint64) << np.uint64(_FINGERPRINT_BITS) | fingerprints


def _header(path: str, offset: int, record: bytes) -> Header:
  if record[:4] != b"MTH1":
    raise DamagedFile(path, "it does not begin with the header of a file of rows", 0)
  try:
    content = json.loads(record[4:])
    version = content["version"]
    if not isinstance(version, int) or not 1 <= version <= _NEWEST_VERSION:
      raise DamagedFile(
        path,
        f"its format version is {version}, this program reads 1 to {_NEWEST_VERSION}",
        offset,
      )
    # Version 1 does not tell its shard, 2 not its save.
    return Header(
      shard=_index_and_count(content.get("shard", [0, 1])),
      save_id=str(content.get("save", "")),
      base=str(content.get("base", "")),
      file=_index_and_count(content.get("file", [0, 1])),
      tables=tuple(_table(table) for table in content["tables"]),
      version=version,
    )
  except DamagedFile:
    raise
  except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
    raise DamagedFile(path, "its header is not readable", offset) from None


def _index_and_count(pair: list[int]) -> tuple[int, int]:
  index, count = pair
  return int(index), int(count)


def _table(content: dict[str, Any]) -> Table:
  config = content["config"]
  segments = tuple(
    Segment(
      name=str(segment["name"]),
      dim=_size(segment["dim"]),
      state_dim=_size(state_dim),
      initializer=dict(segment["initializer"]),
      optimizer=dict(segment["optimizer"]),
      compressor=dict(segment["compressor"]),
    )
    for segment, state_dim in zip(
      config["segments"], content["state_dims"], strict=True
    )
  )
  return Table(
    name=str(config["name"]),
    segments=segments,
    occurrence_threshold=int(config["occurrence_threshold"]),
    expire_time=float(config["expire_time"]),
  )


def _size(number: object) -> int:
  if not isinstance(number, int) or number < 0:
    raise ValueError(f"got {number!r}, wanted a whole number")
  return number
