"""The embedding table over NumPy arrays: for tools, tests and serving.

TensorFlow is not imported, so this is there in a fraction of the time and memory that
TensorFlow takes. Its wheel must be installed even so, for the Abseil in one of its
libraries (see `core_loader`).

>>> import numpy as np
>>> from monolith.native_training import entry
>>> table = EmbeddingTable.create("items", dim=2, optimizer=entry.SgdOptimizer(0.5))
>>> ids = np.array([7, -1])
>>> table.assign(ids, np.array([[1, 2], [3, 4]], np.float32))
>>> table.apply_gradients(ids, np.ones([2, 2], np.float32))
>>> table.lookup(ids)
array([[0.5, 1.5],
       [2.5, 3.5]], dtype=float32)

It is the table of `hash_table_ops.HashTable`, with the same initial values under the
same name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from monolith.native_training import entry
from monolith.native_training.embedding import plan
from monolith.native_training.number_checks import is_whole
from monolith.native_training.runtime.hash_table.python import core_loader

_SEGMENT = "embedding"  # As in hash_table_ops.


class Rows(NamedTuple):
  """Whole rows, in columns.

  Attributes:
    ids: int64 `[n]`.
    embeddings: float32 `[n, dim]`.
    states: float32 `[n, state_dim]`, of the optimizers.
    update_times: uint32 `[n]`, seconds since 1970.
  """

  ids: np.ndarray
  embeddings: np.ndarray
  states: np.ndarray
  update_times: np.ndarray


_MAX_THREADS = 1024  # A mistake beyond that.


class EmbeddingTable:
  """A table of one row of `dim` floats for every int64 id.

  Thread-safe: calls of several threads run at the same time, because they release the
  interpreter's lock while they work. An array must not change during a call that it was
  given to.

  Arrays are taken as they are, without a copy: NumPy arrays of exactly the dtype and
  shape named, contiguous in C order. Anything else is refused: TypeError for lists and
  other dtypes, ValueError for shapes and layouts. Arrays that are returned are new, and
  the caller's.

  Args:
    config: one table as the core describes it (`runtime/hash_table/table_config.h`):
      `{"name": ..., "segments": [{"name": ..., "dim": ...}]}`, or that as JSON text.
    num_threads: how many threads share the work of one call, 1 to 1024.

  Raises:
    ValueError: the config is not valid, or `num_threads` is not.
    TypeError: the config is neither a mapping nor text.
  """

  def __init__(self, config: Mapping[str, Any] | str, num_threads: int = 1):
    if isinstance(config, Mapping):
      config = json.dumps(config)
    if not isinstance(config, str):
      raise TypeError(f"config: got {config!r}, wanted a mapping or JSON text")
    if not is_whole(num_threads) or not 1 <= num_threads <= _MAX_THREADS:
      raise ValueError(
        f"num_threads: got {num_threads!r}, wanted a whole number from 1 to "
        f"{_MAX_THREADS}"
      )
    self._core = core_loader.core().Table(config, num_threads)

  @classmethod
  def create(
    cls,
    name: str,
    dim: int,
    initializer: entry.Initializer | None = None,
    optimizer: entry.Optimizer | None = None,
    occurrence_threshold: int = 0,
    expire_time: float = 36500,
    admission_capacity: int = plan.DEFAULT_ADMISSION_CAPACITY,
    num_threads: int = 1,
  ) -> EmbeddingTable:
    """A table of one segment, with the arguments of `hash_table_ops.HashTable`.

    Args:
      name: seeds the initial values.
      dim: floats of a row, at least 1.
      initializer: default `entry.DEFAULT_INITIALIZER`, uniform in +-0.05.
      optimizer: default `entry.DEFAULT_OPTIMIZER`, Adagrad(0.05) from 0.1.
      occurrence_threshold: how often an id must occur before it gets a row.
      expire_time: days without an update after which `evict` removes a row.
      admission_capacity: with an `occurrence_threshold`, how many ids without a row are
        counted at a time, 8 bytes each (below 100,000, 20 KiB more in all); where there
        are more, those that have not occurred for longest begin at 0 again.
      num_threads: as above.

    Raises:
      ValueError: an argument is out of range.
    """
    plan.check_admission_capacity("admission_capacity", admission_capacity)
    table = plan.Table(
      name,
      occurrence_threshold,
      expire_time,
      admission_capacity=admission_capacity,
    )
    table.add(
      plan.Segment(
        _SEGMENT,
        dim,
        initializer or entry.DEFAULT_INITIALIZER,
        optimizer or entry.DEFAULT_OPTIMIZER,
        entry.DEFAULT_COMPRESSOR,
        0.0,
      )
    )
    return cls(table.config(), num_threads)

  @property
  def config(self) -> dict[str, Any]:
    """What the table is made of, with all defaults filled in."""
    return json.loads(self._core.config_json)

  @property
  def dim(self) -> int:
    """Floats of a row's embedding, all segments together."""
    return self._core.dim

  @property
  def state_dim(self) -> int:
    """Floats of a row's optimizer state."""
    return self._core.state_dim

  @property
  def num_stripes(self) -> int:
    """How many parts the table has, which `export` goes through."""
    return self._core.num_stripes

  def lookup(
    self,
    ids: np.ndarray,
    zero_missing: bool = False,
    out: np.ndarray | None = None,
  ) -> np.ndarray:
    """The rows of ids. Never inserts.

    Args:
      ids: int64 `[n]`, any values, repeated ones too.
      zero_missing: an id without a row reads zeros, as in serving, not its initial
        value.
      out: float32 `[n, dim]` to write to; default a new array.

    Returns:
      float32 `[n, dim]`: `out` if it was given.
    """
    if out is None:
      out = np.empty([np.size(ids), self.dim], np.float32)
    self._core.lookup(ids, zero_missing, out)
    return out

  def assign(
    self, ids: np.ndarray, values: np.ndarray, update_time: int | None = None
  ) -> None:
    """Sets rows; of a repeated id the last one counts.

    Args:
      ids: int64 `[n]`.
      values: float32 `[n, dim]`, finite.
      update_time: seconds since 1970, for expiry; default now.
    """
    self._core.assign(ids, values, _seconds(update_time))

  def assign_add(
    self, ids: np.ndarray, values: np.ndarray, update_time: int | None = None
  ) -> None:
    """Adds to rows, a new one beginning at its initial value.

    Args:
      ids: int64 `[n]`; what is added to a repeated id is summed. Sums stay within the
        largest finite float.
      values: float32 `[n, dim]`, finite.
      update_time: seconds since 1970, for expiry; default now.
    """
    self._core.assign_add(ids, values, _seconds(update_time))

  def apply_gradients(
    self,
    ids: np.ndarray,
    grads: np.ndarray,
    learning_rate: float | Sequence[float] | None = None,
    update_time: int | None = None,
    global_step: int = 0,
  ) -> None:
    """Lets the optimizers change rows.

    Args:
      ids: int64 `[n]`; the gradients of a repeated id are summed, then applied once.
      grads: float32 `[n, dim]`, finite.
      learning_rate: one number for all segments, or one for each, at least 0; default
        the optimizers' own.
      update_time: seconds since 1970, for expiry; default now.
      global_step: for optimizers with warm-up.
    """
    if learning_rate is None:
      rates = []
    elif np.ndim(learning_rate):
      rates = list(learning_rate)
    else:
      rates = [learning_rate] * self._core.num_segments
    self._core.apply_gradients(ids, grads, rates, _seconds(update_time), global_step)

  def erase(self, ids: np.ndarray) -> int:
    """Removes the rows of ids, int64 `[n]`; returns how many there were."""
    return self._core.erase(ids)

  def evict(self, now: int | None = None) -> int:
    """Removes rows that were not updated for `expire_time`; returns how many.

    Args:
      now: seconds since 1970; default now.
    """
    return self._core.evict(_seconds(now))

  def clear(self) -> None:
    """Removes all rows and returns their memory."""
    self._core.clear()

  def size(self) -> int:
    """The number of rows."""
    return self._core.size()

  def memory_bytes(self) -> int:
    """Bytes that rows, their index and ids on trial take."""
    return self._core.memory_bytes()

  def export(self) -> Iterator[Rows]:
    """All rows, one stripe of the table after the other. Ids without a row are not
    among them, however often they have occurred.

    Each stripe is as it was at one moment, and the table goes on working between two of
    them: it takes no more memory than the largest stripe.
    """
    for stripe in range(self.num_stripes):
      yield Rows(*self._core.export_stripe(stripe))

  def import_rows(self, rows: Rows) -> None:
    """Inserts or overwrites whole rows, as `export` gave them.

    Raises:
      ValueError: the table's rows have other widths; an embedding or a state is not
        finite, or a state is none that its optimizer can have, such as a negative
        accumulator. The message names the id, and no row was changed.
    """
    self._core.import_rows(*rows)


def _seconds(moment: int | None) -> int:
  seconds = int(time.time() if moment is None else moment)
  if not 0 <= seconds < 2**32:
    raise ValueError(f"got the time {moment!r}, wanted seconds from 0 to 2^32 - 1")
  return seconds
