"""The embedding tables of a model in a graph: one lookup and one update a server.

The work of a step (ids to slices, gradients of slices to rows) is five ops:

  worker  shard ids      every feature's ids -> a request for each server, an index
  server  lookup         request -> the rows' values, one flat float32 buffer
  worker  pool           buffers and index -> slices [batch, dim]
  worker  pool gradient  gradients of slices -> one gradient buffer for each server
  server  update         request and gradients -> rows changed in place

A model asks for slices one at a time while its graph is built, and only then is it
known what the one lookup must fetch. `declare` therefore hands out tensors whose
value is bound later, by `build`.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from monolith.native_training import feature
from monolith.native_training.embedding import plan as plan_lib
from monolith.native_training.runtime.ops import loader


class ShardedEmbedding:
  """The tables of one model graph, spread over servers by id.

  Args:
    servers: the device of each server that holds tables; `[None]` keeps them in the
      process that runs the graph.
    shared_name: name of the tables on their servers: graphs that use the same one
      share rows.
    missing: what an id without a row reads: `'initial'` its initial value (training),
      `'zero'` zeros (evaluation, prediction, serving). In a table with an
      `occurrence_threshold` it is always zeros.
    admission_capacity: how many ids without a row a table with an
      `occurrence_threshold` counts at a time, on each server.
    exported: whether the tables are those of an exported model, which are read only:
      `MonolithLoadCompactTables` loads them. `missing` is `'zero'` then.
  """

  def __init__(
    self,
    features: Mapping[str, object],
    servers: Sequence[str | None] = (None,),
    shared_name: str = "tables",
    missing: str = "initial",
    admission_capacity: int = plan_lib.DEFAULT_ADMISSION_CAPACITY,
    exported: bool = False,
  ):
    self.plan = plan_lib.EmbeddingPlan(admission_capacity)
    self._graph = tf.compat.v1.get_default_graph()
    self._features = features
    self._servers = list(servers)
    self._shared_name = shared_name
    self._missing = missing
    self._exported = exported
    self._declared: list[tf.Tensor] = []  # Parallel to plan.outputs.
    self._handles: list[tf.Tensor] = []  # One a server, once built.
    self._built = False
    self._requests: list[tf.Tensor] = []  # One a server, once built.
    self._values: list[tf.Tensor] = []
    self._pool: tf.Operation | None = None

  def declare(self, feature_name: str, segment: plan_lib.Segment) -> tf.Tensor:
    """A slice of a feature, as a tensor that gets its value from `build`.

    Returns:
      float32: `[batch, dim]`, `[batch, n, dim]` for first_n, or what the feature's own
      combiner makes of it.

    Raises:
      RuntimeError: `build` has run, or another graph is the default, as in `tf.cond`.
      ValueError: what `EmbeddingPlan.add_output` refuses.
    """
    if self._built:
      raise RuntimeError(
        f"slice {segment.name!r} of feature {feature_name!r} was asked for after "
        "model_fn had returned"
      )
    if tf.compat.v1.get_default_graph() is not self._graph:
      raise RuntimeError(
        f"slice {segment.name!r} of feature {feature_name!r} was asked for inside a "
        "tf.cond, tf.while_loop or tf.function, which is a graph of its own; look it "
        "up before, and use the result in there"
      )
    index = self.plan.add_output(feature_name, segment)
    combiner = self.plan.features[feature_name].combiner
    if index == len(self._declared):
      if combiner.kind == "first_n":
        shape = [None, combiner.length, segment.dim]
      else:
        shape = [None, segment.dim]
      self._declared.append(_late_bound(shape, f"{feature_name}_{segment.name}"))
    pooled = self._declared[index]
    if combiner.kind != "none":
      return pooled
    splits = feature.ids_of(feature_name, self._features).row_splits
    return combiner.combine(tf.RaggedTensor.from_row_splits(pooled, splits, False))

  @property
  def slices(self) -> list[tf.Tensor]:
    """The declared tensors: what gradients are taken of. Parallel to plan.outputs."""
    return self._declared

  def build(self) -> None:
    """Adds the ops of the lookup and binds every declared slice."""
    self._built = True
    if not self.plan.outputs:
      return
    ops = loader.ops()
    self._handles = self._table_sets(ops)
    columns = self.plan.used_features
    tables = self.plan.tables
    table_index = {table.name: i for i, table in enumerate(tables)}
    ragged = [feature.ids_of(c.name, self._features) for c in columns]
    self._row_splits = [r.row_splits for r in ragged]
    self._requests, self._index = ops.monolith_shard_ids(
      ids=[r.values for r in ragged],
      row_splits=self._row_splits,
      num_shards=len(self._servers),
      table_of_feature=[table_index[c.table] for c in columns],
      table_dims=[t.dim for t in tables],
      feature_names=[c.name for c in columns],
      # How often an id occurs travels with it where that decides about its row.
      counted_tables=[i for i, t in enumerate(tables) if t.occurrence_threshold > 0],
    )
    values = []
    for server, handle, request in zip(
      self._servers, self._handles, self._requests, strict=True
    ):
      with tf.device(server):
        if self._exported:
          values.append(ops.monolith_compact_lookup(handle, request))
        else:
          values.append(ops.monolith_lookup(handle, request, missing=self._missing))
    pooled = ops.monolith_pool(
      values,
      self._index,
      self._row_splits,
      self._requests,
      num_outputs=len(self.plan.outputs),
      **self._pool_attributes(),
    )
    self._values, self._pool = values, pooled[0].op
    for declared, value in zip(self._declared, pooled, strict=True):
      _bind(declared, value)

  @property
  def servers(self) -> list[str | None]:
    """The device of each server."""
    return self._servers

  @property
  def requests(self) -> list[tf.Tensor]:
    """What each server's lookup is asked: int64 `[n]`; none without tables."""
    return list(self._requests)

  def looked_up(self, server: int) -> tf.Tensor | None:
    """The buffer of values that a server's lookup returns; None without tables."""
    return self._values[server] if self._values else None

  def replace_looked_up(self, server: int, values: tf.Tensor) -> None:
    """Makes the worker read a server's values from elsewhere: the same ones."""
    self._pool._update_input(server, values)  # see `_bind`.

  def gradient_buffers(self, slice_gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The gradients of rows, from those of slices.

    Args:
      slice_gradients: float32, each of the shape of its slice in `slices`.

    Returns:
      A flat float32 buffer for each server, laid out like its looked-up values.
    """
    if not self.plan.outputs:
      return []
    return loader.ops().monolith_pool_grad(
      slice_gradients,
      self._requests,
      self._index,
      self._row_splits,
      feature_names=[c.name for c in self.plan.used_features],
      output_names=[o.label for o in self.plan.outputs],
      **self._pool_attributes(),
    )

  def update(
    self, gradient_buffers: Sequence[tf.Tensor], global_step: tf.Tensor
  ) -> list[tf.Operation]:
    """The ops that apply gradients to rows, one a server.

    Args:
      gradient_buffers: what `gradient_buffers` returned, perhaps clipped.
      global_step: int64 scalar, for learning rates and warm-up.
    """
    if not self.plan.outputs:
      return []
    ops = loader.ops()
    needs_step = self.plan.needs_global_step()
    updates = []
    for server, handle, request, gradients in zip(
      self._servers, self._handles, self._requests, gradient_buffers, strict=True
    ):
      with tf.device(server):
        # A step that no update reads would only cost a transfer between servers.
        step = global_step if needs_step else tf.constant(0, tf.int64)
        updates.append(
          ops.monolith_update(
            handle,
            request,
            gradients,
            learning_rates=self._learning_rates(step),
            update_time=tf.cast(tf.timestamp(), tf.int64),
            global_step=step,
            ids_are_unique=True,  # The sharding has seen to it.
          )
        )
    return updates

  def table_sets(self) -> list[tuple[str | None, tf.Tensor]]:
    """The device and the table set handle of every server; none without tables."""
    return list(zip(self._servers, self._handles, strict=True)) if self._handles else []

  def _table_sets(self, ops) -> list[tf.Tensor]:
    handles = []
    for server in self._servers:
      with tf.device(server):
        handles.append(self._table_set(ops))
    return handles

  def _table_set(self, ops) -> tf.Tensor:
    if not self._exported:
      return ops.monolith_table_set(
        config=self.plan.config(), shared_name=self._shared_name
      )
    tables = self.plan.tables
    return ops.monolith_compact_tables(
      table_names=[table.name for table in tables],
      table_dims=[table.dim for table in tables],
      shared_name=self._shared_name,
    )

  def _learning_rates(self, step: tf.Tensor) -> tf.Tensor:
    rates = [
      s.learning_rate(step) if callable(s.learning_rate) else s.learning_rate
      for table in self.plan.tables
      for s in table.segments.values()
    ]
    if any(tf.is_tensor(rate) for rate in rates):
      return tf.stack([tf.cast(rate, tf.float32) for rate in rates])
    return tf.constant(rates, tf.float32)

  def _pool_attributes(self) -> dict[str, list]:
    feature_index = {c.name: i for i, c in enumerate(self.plan.used_features)}
    columns = [self.plan.features[o.feature] for o in self.plan.outputs]
    tables = [self.plan.table(o.table) for o in self.plan.outputs]
    segments = [o.segment for o in self.plan.outputs]
    return {
      "feature_of_output": [feature_index[c.name] for c in columns],
      "offset_of_output": [t.offset(s) for t, s in zip(tables, segments, strict=True)],
      "dim_of_output": [
        t.segments[s].dim for t, s in zip(tables, segments, strict=True)
      ],
      "combiner_of_output": [c.combiner.kind for c in columns],
      "length_of_output": [c.combiner.length for c in columns],
      "table_dims": [t.dim for t in self.plan.tables],
    }


def _late_bound(shape: list[int | None], name: str) -> tf.Tensor:
  placeholder = tf.compat.v1.placeholder(tf.float32, shape)
  return tf.identity(
    placeholder,
    name=tf.compat.v1.get_default_graph().unique_name(
      "slice_" + "".join(c if c.isalnum() else "_" for c in name), mark_as_used=False
    ),
  )


def _bind(declared: tf.Tensor, value: tf.Tensor) -> None:
  # Graph-mode TensorFlow has no public way to give an existing tensor its value. The
  # session checks the graph only when it runs, and `value` depends on data alone, so
  # no cycle can come of it.
  declared.op._update_input(0, value)
