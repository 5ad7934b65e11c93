"""What a model asks of its embedding tables, gathered while `model_fn` runs.

A table holds the rows of one feature, or of several that share it. A row is cut into
segments, one a slice name; a segment has its own width, initializer, optimizer and
compressor. Pure data: no TensorFlow, so that it can be inspected and tested alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from monolith.native_training import entry
from monolith.native_training.number_checks import is_finite, is_whole

if TYPE_CHECKING:  # It imports TensorFlow.
  from monolith.native_training.feature import FeatureColumn

_MAX_TABLE_DIM = 65536  # TableConfig::kMaxTableDim of the C++ core.
_MAX_ADMISSION_CAPACITY = 1 << 30  # TableConfig::kMaxAdmissionCapacity.

# Ids on trial of a table and server: 32 MiB.
DEFAULT_ADMISSION_CAPACITY = 1 << 22

LearningRate = float | Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Segment:
  """One slice of the rows of one table.

  Attributes:
    learning_rate: a number, or a function of the global step (int64 scalar tensor)
      that returns a float32 scalar tensor.
  """

  name: str
  dim: int
  initializer: entry.Initializer
  optimizer: entry.Optimizer
  compressor: entry.Compressor
  learning_rate: LearningRate

  def __post_init__(self):
    if is_whole(self.dim):  # Of NumPy's numbers JSON knows nothing.
      object.__setattr__(self, "dim", int(self.dim))
    for what, kind in (
      ("initializer", entry.Initializer),
      ("optimizer", entry.Optimizer),
      ("compressor", entry.Compressor),
    ):
      value = getattr(self, what)
      if not isinstance(value, kind):
        raise ValueError(
          f"slice {self.name!r}: got {what} {value!r}, wanted an entry.{kind.__name__}"
        )
    rate = self.learning_rate
    if not callable(rate) and not (is_finite(rate) and rate >= 0):
      raise ValueError(
        f"slice {self.name!r}: got learning_rate {rate!r}, wanted a number, 0 or "
        "more, or a function of the global step"
      )

  def config(self, table_name: str) -> dict[str, Any]:
    return {
      "name": self.name,
      "dim": self.dim,
      "seed": _seed(table_name, self.name),
      "initializer": self.initializer.config(),
      "optimizer": self.optimizer.config(),
      "compressor": self.compressor.config(),
    }


def _seed(table_name: str, segment_name: str) -> int:
  """A seed of 63 bits that depends on the two names only."""
  name = f"{table_name}\0{segment_name}".encode()
  return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def check_admission_capacity(where: str, capacity: int) -> None:
  """Checks how many ids a table may have on trial.

  Raises:
    ValueError: naming `where`, it is out of range.
  """
  if not is_whole(capacity) or not 1 <= capacity <= _MAX_ADMISSION_CAPACITY:
    raise ValueError(
      f"{where}: got {capacity!r}, wanted a whole number, 1 to "
      f"{_MAX_ADMISSION_CAPACITY}"
    )


@dataclasses.dataclass
class Table:
  """The rows of one or more features.

  Attributes:
    admission_capacity: ids without a row whose occurrences are counted at a time, on
      each server, see `RunnerConfig`; only matters where there is an
      `occurrence_threshold`.
  """

  name: str
  occurrence_threshold: int
  expire_time: float
  segments: dict[str, Segment] = dataclasses.field(default_factory=dict)
  admission_capacity: int = DEFAULT_ADMISSION_CAPACITY

  @property
  def dim(self) -> int:
    """Floats of a row's embedding, all segments together."""
    return sum(s.dim for s in self.segments.values())

  def offset(self, segment_name: str) -> int:
    """Where in the row's embedding a segment begins."""
    offset = 0
    for name, segment in self.segments.items():
      if name == segment_name:
        return offset
      offset += segment.dim
    raise KeyError(segment_name)

  def add(self, segment: Segment) -> None:
    """Adds a segment, or checks that the one of this name is the same."""
    if segment.name not in self.segments and self.dim + segment.dim > _MAX_TABLE_DIM:
      raise ValueError(
        f"slice {segment.name!r} of table {self.name!r}: got dim {segment.dim} beside "
        f"{self.dim} of its other slices, wanted at most {_MAX_TABLE_DIM} in all"
      )
    known = self.segments.setdefault(segment.name, segment)
    for field in dataclasses.fields(Segment):
      got, had = getattr(segment, field.name), getattr(known, field.name)
      if got != had:
        raise ValueError(
          f"slice {segment.name!r} of table {self.name!r}: {field.name} is {got!r} "
          f"here and {had!r} in an earlier lookup_embedding_slice"
        )

  def config(self) -> dict[str, Any]:
    admission = {"occurrence_threshold": int(self.occurrence_threshold)}
    if self.occurrence_threshold:
      admission["admission_capacity"] = int(self.admission_capacity)
    return {
      "name": self.name,
      **admission,
      "expire_time": float(self.expire_time),
      "segments": [s.config(self.name) for s in self.segments.values()],
    }


def tables_config(tables: list[Table]) -> str:
  """The tables as the JSON text that the C++ core parses."""
  return json.dumps({"tables": [table.config() for table in tables]})


@dataclasses.dataclass(frozen=True)
class Output:
  """A pooled slice of a feature: one output of the pooling op."""

  feature: str
  table: str
  segment: str

  @property
  def label(self) -> str:
    """The output's name in error messages."""
    return f"{self.feature}/{self.segment}"


class EmbeddingPlan:
  """The features, tables and outputs of one model graph, in the order of their names'
  first use.

  Args:
    admission_capacity: of each table; see `Table`.
  """

  def __init__(self, admission_capacity: int = DEFAULT_ADMISSION_CAPACITY):
    self._admission_capacity = admission_capacity
    self.features: dict[str, FeatureColumn] = {}
    self._tables: dict[str, Table] = {}
    self.outputs: list[Output] = []

  def add_feature(self, column: FeatureColumn) -> None:
    """Declares a feature.

    Raises:
      ValueError: it was declared otherwise before, or contradicts another feature of
        its table.
    """
    if self.features.setdefault(column.name, column) != column:
      raise ValueError(
        f"feature {column.name!r} was created twice, with other settings: "
        f"{self.features[column.name]} and {column}"
      )
    table = self._tables.setdefault(
      column.table,
      Table(
        column.table,
        column.occurrence_threshold,
        column.expire_time,
        admission_capacity=self._admission_capacity,
      ),
    )
    for setting in ("occurrence_threshold", "expire_time"):
      if getattr(column, setting) != getattr(table, setting):
        raise ValueError(
          f"feature {column.name!r}: {setting} is {getattr(column, setting)}, but the "
          f"features that share table {column.table!r} use {getattr(table, setting)}"
        )

  def add_output(self, feature_name: str, segment: Segment) -> int:
    """Declares that a feature's slice is read.

    Returns:
      The index of the output.

    Raises:
      ValueError: the feature was not declared, or the slice contradicts an earlier one.
    """
    column = self.features.get(feature_name)
    if column is None:
      raise ValueError(
        f"feature {feature_name!r} has no embedding column; call "
        f"create_embedding_feature_column({feature_name!r}) first (known: "
        f"{', '.join(self.features) or 'none'})"
      )
    if not is_whole(segment.dim) or segment.dim < 1:
      raise ValueError(
        f"slice {segment.name!r} of feature {feature_name!r}: got dim {segment.dim!r}, "
        "wanted a whole number, at least 1"
      )
    self._tables[column.table].add(segment)
    output = Output(feature_name, column.table, segment.name)
    if output in self.outputs:
      return self.outputs.index(output)
    self.outputs.append(output)
    return len(self.outputs) - 1

  @property
  def tables(self) -> list[Table]:
    """The tables that have segments."""
    return [table for table in self._tables.values() if table.segments]

  @property
  def used_features(self) -> list[FeatureColumn]:
    """The features that some output reads."""
    read = {output.feature for output in self.outputs}
    return [column for name, column in self.features.items() if name in read]

  def table(self, name: str) -> Table:
    return self._tables[name]

  def config(self) -> str:
    """All tables as JSON text."""
    return tables_config(self.tables)

  def needs_global_step(self) -> bool:
    """Whether some segment's update depends on the global step."""
    return any(
      callable(s.learning_rate) or s.optimizer.depends_on_step
      for table in self.tables
      for s in table.segments.values()
    )
