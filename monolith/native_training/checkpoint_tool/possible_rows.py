"""What a table can hold: the ranges by which restoring refuses rows, from the core."""

import functools
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from monolith.native_training.runtime.hash_table.python.embedding_table import (
  EmbeddingTable,
  Rows,
)

_NOTHING_DONE = "; no row was changed"


class PossibleRows:
  """What a table of a config can hold. Not thread-safe.

  Args:
    config: the table as the core describes it, and headers of files of rows do.

  Raises:
    ValueError: there can be no such table.
  """

  def __init__(self, config: Mapping[str, Any]):
    # Whose ids on trial would take memory.
    self._table = EmbeddingTable({**config, "occurrence_threshold": 0})

  @property
  def num_stripes(self) -> int:
    """How many parts the table has, of whose ids on trial a file tells."""
    return self._table.num_stripes

  def check(self, rows: Rows) -> None:
    """Checks rows. States of another width than the optimizers have now begin anew, so
    that they may be anything.

    Raises:
      ValueError: naming the id, column and range of a number that cannot be.
    """
    if rows.states.shape[1] != self._table.state_dim:
      rows = rows._replace(states=np.repeat(self._initial_state, len(rows.ids), axis=0))
    rows = Rows(*(np.require(column, requirements="CA") for column in rows))
    try:
      # All into one row, which takes no memory.
      self._table.import_rows(rows._replace(ids=np.zeros_like(rows.ids)))
      return
    except ValueError:
      pass  # It names no id.
    try:
      self._table.import_rows(rows)
    except ValueError as error:
      raise ValueError(str(error).removesuffix(_NOTHING_DONE)) from None

  @functools.cached_property
  def _initial_state(self) -> np.ndarray:
    """Of a row, float32 `[1, state_dim]`."""
    table = EmbeddingTable(self._table.config)
    table.assign(np.zeros(1, np.int64), np.zeros([1, table.dim], np.float32))
    return next(rows.states for rows in table.export() if len(rows.ids))


@functools.lru_cache(maxsize=1024)
def _of_text(config: str) -> PossibleRows:
  return PossibleRows(json.loads(config))


def of_config(config: Mapping[str, Any]) -> PossibleRows:
  """The same for all files of a table, as `PossibleRows` makes it."""
  return _of_text(json.dumps(config, sort_keys=True))
