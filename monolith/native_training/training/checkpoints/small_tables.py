"""Tables and dense variables for tests of checkpoints: any number of servers, all of
them in this process, saved and restored by a Checkpointer."""

import json
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from monolith.native_training.runtime.ops import loader, testing
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer

THRESHOLD = 3  # Of the table `uid`.
DEFAULT_TABLES = [
  {
    "name": "mov",
    "segments": [
      testing.segment(3, "vec", optimizer=testing.ADAGRAD),
      testing.segment(1, "bias"),
    ],
  },
  {
    "name": "uid",
    "occurrence_threshold": THRESHOLD,
    "admission_capacity": 64,
    "segments": [testing.segment(2, "vec", optimizer=testing.ADAGRAD)],
  },
]

# id -> embedding, optimizer state, update time.
Rows = dict[int, tuple[list[float], list[float], int]]


class SmallTables:
  """A session of a graph with tables and dense variables.

  Args:
    num_servers: over which the rows are spread.
    tables: as in `table_config.h`.
    variables: name -> its first value.
    **settings: of the Checkpointer.
  """

  def __init__(
    self,
    num_servers: int = 1,
    tables: Sequence[dict[str, Any]] = DEFAULT_TABLES,
    variables: dict[str, Any] | None = None,
    **settings: Any,
  ):
    self._graph = tf.Graph()
    self._ops = loader.ops()
    with self._graph.as_default():
      self._build(num_servers, tables, variables or {"dense/bias": [0.5, -0.5]})
      embedding = types.SimpleNamespace(
        plan=types.SimpleNamespace(
          tables=[types.SimpleNamespace(name=name) for name in self.table_names],
          outputs=[],
        ),
        # As a model without tables has none.
        table_sets=lambda: [(None, handle) for handle in self._handles],
      )
      self.checkpointer = Checkpointer(embedding, **settings)
    self.session = tf.compat.v1.Session(graph=self._graph)
    self.session.run(self._initialize)

  def __enter__(self) -> "SmallTables":
    return self

  def __exit__(self, *unused: object) -> None:
    self.session.close()

  def _build(self, num_servers, tables, variables) -> None:
    self.table_names = [table["name"] for table in tables]
    config = json.dumps({"tables": list(tables)})
    self._handles = [
      self._ops.monolith_table_set(config=config, shared_name=f"server_{i}")
      for i in range(num_servers)
      if tables
    ]
    self._request = tf.compat.v1.placeholder(tf.int64, [None])
    self._gradients = tf.compat.v1.placeholder(tf.float32, [None])
    self._time = tf.compat.v1.placeholder(tf.int64, [])
    self._stripe = tf.compat.v1.placeholder(tf.int64, [])
    self._update, self._erase, self._export, self._stripes = [], [], [], []
    for handle in self._handles:
      update = self._ops.monolith_update(
        handle,
        request=self._request,
        gradients=self._gradients,
        learning_rates=tf.constant([], tf.float32),
        update_time=self._time,
        global_step=tf.constant(0, tf.int64),
      )
      self._update.append(update)
      self._erase.append(self._ops.monolith_erase(handle, self._request))
      self._stripes.append(self._ops.monolith_export_stripes(handle))
      self._export.append(
        [
          self._ops.monolith_export_rows(handle, stripe=self._stripe, table=table)
          for table in range(len(tables))
        ]
      )
    self._dims = [sum(s["dim"] for s in table["segments"]) for table in tables]
    for name, value in variables.items():
      value = tf.constant(value, tf.float32)
      tf.compat.v1.get_variable(name, initializer=value, use_resource=True)
    self._variables = tf.compat.v1.global_variables()
    self._double = [v.assign_add(v) for v in self._variables]
    self._initialize = tf.compat.v1.global_variables_initializer()

  def train(self, time: int, **ids: Sequence[int]) -> None:
    """Updates rows with gradients that depend on id and time, and the variables.

    Args:
      time: of the update, seconds since 1970.
      **ids: of each table, each id once.
    """
    self.session.run(self._double)
    for server, own in enumerate(self._requests(ids)):
      gradients = [
        np.sin(np.outer(table_ids, np.arange(1, dim + 1)) + time).ravel()
        for table_ids, dim in zip(own, self._dims, strict=True)
      ]
      feed = {
        self._request: testing.request(*own),
        self._gradients: np.concatenate(gradients),
        self._time: time,
      }
      self.session.run(self._update[server], feed)

  def erase(self, **ids: Sequence[int]) -> None:
    for server, own in enumerate(self._requests(ids)):
      self.session.run(self._erase[server], {self._request: testing.request(*own)})

  def _requests(self, ids: dict[str, Sequence[int]]) -> list[list[list[int]]]:
    """The ids of each table, for each server."""
    requests = [[] for _ in self._handles]
    for name in self.table_names:
      for own, request in zip(requests, self._shards(ids.get(name, [])), strict=True):
        own.append(request)
    return requests

  def _shards(self, ids: Sequence[int]) -> list[list[int]]:
    with tf.init_scope():
      requests, _ = self._ops.monolith_shard_ids(
        ids=[np.asarray(ids, np.int64)],
        row_splits=[[0, len(ids)]],
        num_shards=len(self._handles),
        table_of_feature=[0],
        table_dims=[1],
        feature_names=["ids"],
      )
      return [request.numpy()[1:].tolist() for request in requests]

  def rows(self) -> dict[str, Rows]:
    """All rows, by table."""
    result = {name: {} for name in self.table_names}
    for stripes, exports in zip(self._stripes, self._export, strict=True):
      counts = self.session.run(stripes)
      for name, export, count in zip(self.table_names, exports, counts, strict=True):
        for stripe in range(count):
          columns = self.session.run(export, {self._stripe: stripe})
          for i, *row in zip(*(column.tolist() for column in columns), strict=True):
            assert i not in result[name], f"two servers have id {i}"
            result[name][i] = tuple(row)
    return result

  def variables(self) -> dict[str, list[float]]:
    """The values of the dense variables."""
    values = self.session.run(self._variables)
    names = (variable.op.name for variable in self._variables)
    return {name: v.tolist() for name, v in zip(names, values, strict=True)}

  def save(self, model_dir: str, step: int, **how: Any) -> str:
    with self._graph.as_default():
      return self.checkpointer.save(self.session, model_dir, step, **how)

  def restore(self, path: str) -> None:
    with self._graph.as_default():
      self.checkpointer.restore(self.session, path)

  def warm_start(self, path: str) -> None:
    with self._graph.as_default():
      self.checkpointer.warm_start(self.session, path)
