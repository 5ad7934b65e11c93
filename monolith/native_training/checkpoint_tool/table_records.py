"""What records of a file of rows say: the format of
`runtime/ops/table_files/table_file_format.h`.

A record's kind and its counts are known when what it has is decoded here.
"""

import dataclasses
import json
from typing import Any

import numpy as np

MAX_AGE = 14  # Of an id on trial.
TRIAL_BYTES = 4 + 4 + 2 + 1  # bucket, fingerprint, occurrences, age
_NEWEST_VERSION = 4
_FIRST_WITH_CHANGED_TRIALS = 4
_FINGERPRINT_BITS = 20


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
  """What a header says of a table.

  Attributes:
    config: all of that, as the core describes it.
    expire_time: in days.
  """

  name: str
  segments: tuple[Segment, ...]
  occurrence_threshold: int
  expire_time: float
  config: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

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


def rows(record: bytes, n: int, at: int, table: int, shape: Table) -> Rows:
  """A block's `n` rows, which begin at a byte of its record."""
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


def trial_names(record: bytes, n: int, at: int, num_buckets: int) -> np.ndarray | None:
  """The names of a block's `n` ids on trial; None if they cannot be."""
  buckets = np.frombuffer(record, "<u4", n, at)
  fingerprints = np.frombuffer(record, "<u4", n, at + 4 * n)
  ages = np.frombuffer(record, "u1", n, at + (TRIAL_BYTES - 1) * n)
  if not (
    (buckets < num_buckets).all()
    and (fingerprints >> _FINGERPRINT_BITS == 0).all()
    and (ages <= MAX_AGE).all()
  ):
    return None
  return buckets.astype(np.uint64) << np.uint64(_FINGERPRINT_BITS) | fingerprints


def header(record: bytes) -> Header:
  """A file's first record.

  Raises:
    ValueError: why it is none, or cannot be read.
  """
  if record[:4] != b"MTH1":
    raise ValueError("it does not begin with the header of a file of rows")
  unreadable = ValueError("its header is not readable")
  try:
    content = json.loads(record[4:])
    version = content["version"]
  except (KeyError, RecursionError, TypeError, ValueError):
    raise unreadable from None
  if not isinstance(version, int) or not 1 <= version <= _NEWEST_VERSION:
    raise ValueError(
      f"its format version is {version}, this program reads 1 to {_NEWEST_VERSION}"
    )
  try:
    # Version 1 does not tell its shard, 2 not its save.
    return Header(
      shard=_index_and_count(content.get("shard", [0, 1])),
      save_id=str(content.get("save", "")),
      base=str(content.get("base", "")),
      file=_index_and_count(content.get("file", [0, 1])),
      tables=tuple(_table(table) for table in content["tables"]),
      version=version,
    )
  except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
    raise unreadable from None


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
    config=dict(config),
  )


def _size(number: object) -> int:
  if not isinstance(number, int) or number < 0:
    raise ValueError(f"got {number!r}, wanted a whole number")
  return number
