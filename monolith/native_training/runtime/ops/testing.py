"""What the tests of the ops share: configurations, requests, a table set."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from monolith.native_training.runtime.ops import loader

SGD = {"type": "sgd"}
ADAGRAD = {"type": "adagrad", "initial_accumulator_value": 0.1}

_names = itertools.count()


def segment(dim: int, name: str = "vec", optimizer=None, value=None, seed=7):
  """A segment; its initial values are random, or all `value`."""
  initializer = {"type": "random_uniform", "minval": -0.05, "maxval": 0.05}
  if value is not None:
    initializer = {"type": "constants", "constant": value}
  return {
    "name": name,
    "dim": dim,
    "seed": seed,
    "initializer": initializer,
    "optimizer": optimizer or SGD,
  }


def config(settings: dict[str, Any] | None = None, **tables: Any) -> str:
  """The JSON of tables, given as name=[segments]; all have the same settings."""
  return json.dumps(
    {
      "tables": [
        {"name": n, "segments": segments, **(settings or {})}
        for n, segments in tables.items()
      ]
    }
  )


def table_set(json_config: str, name: str | None = None) -> tf.Tensor:
  """A new table set; with a name, one that other calls can find."""
  name = name or f"testing_{next(_names)}"
  return loader.ops().monolith_table_set(config=json_config, shared_name=name)


def request(*ids_of_tables: Sequence[int]) -> np.ndarray:
  """A request for the ids of each table."""
  counts = [len(ids) for ids in ids_of_tables]
  return np.array(counts + [i for ids in ids_of_tables for i in ids], np.int64)


def save(handle, file, shard_index=0, num_shards=1, save_id="", base="", num_files=1):
  """Runs MonolithSaveTables; how many rows and erased ids were written."""
  saved = loader.ops().monolith_save_tables(
    handle,
    file,
    shard_index=shard_index,
    num_shards=num_shards,
    save_id=save_id,
    base_save_id=base,
    urgent=False,
    num_files=num_files,
  )
  return int(saved.rows), int(saved.erased)


def restore(handle, files, shard_index=0, num_shards=1, save_ids=(), **attributes):
  """Runs MonolithRestoreTables; rows and warnings."""
  return loader.ops().monolith_restore_tables(
    handle,
    files,
    save_ids=tf.constant(save_ids, tf.string, [len(save_ids)]),
    shard_index=shard_index,
    num_shards=num_shards,
    **attributes,
  )


def update(handle, req, gradients, rates=(), time=1000, step=0, **attributes):
  """Runs MonolithUpdate with what a test does not care about filled in."""
  return loader.ops().monolith_update(
    handle,
    request=req,
    gradients=np.asarray(gradients, np.float32),
    learning_rates=np.asarray(rates, np.float32),
    update_time=time,
    global_step=step,
    **attributes,
  )


def export(handle, table: int = 0) -> dict[int, tuple]:
  """All rows of a table: id -> (embedding, state, update time)."""
  ops = loader.ops()
  rows = {}
  for stripe in range(ops.monolith_export_stripes(handle)[table]):
    columns = ops.monolith_export_rows(handle, stripe=stripe, table=table)
    for i, embedding, state, time in zip(*[c.numpy() for c in columns], strict=True):
      assert i not in rows
      rows[int(i)] = (embedding.tolist(), state.tolist(), int(time))
  return rows
