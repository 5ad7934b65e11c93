"""What each op of a training step costs, inside one session.

Two features with one id per example, each with a table of its own, rows of dim 32,
Adagrad, one server; ids as skewed as in real batches. Each op runs many times in one
session call, so that the cost of the call itself hardly counts.

  bazel run //monolith/native_training/runtime/ops:ops_benchmark
"""

import time

import numpy as np
import tensorflow as tf
from absl import app

from monolith.native_training.runtime.ops import loader, testing

_DIM = 32
_TABLES = 2
_REPEATS = 50


def _ids(batch: int, feature: int) -> np.ndarray:
  random = np.random.default_rng(feature)
  return (200_000 ** random.random(batch)).astype(np.int64) * 7919


class _Step:
  """The ops of one step, each fed with the results of those before it."""

  def __init__(self, session: tf.compat.v1.Session, batch: int):
    self._session = session
    self._ops = loader.ops()
    self._handle = testing.table_set(
      testing.config(
        **{
          f"table{t}": [testing.segment(_DIM, optimizer=testing.ADAGRAD)]
          for t in range(_TABLES)
        }
      )
    )
    self._ids = [tf.constant(_ids(batch, f)) for f in range(_TABLES)]
    self._splits = [tf.range(batch + 1, dtype=tf.int64)] * _TABLES
    self._slices = {
      "feature_of_output": list(range(_TABLES)),
      "offset_of_output": [0] * _TABLES,
      "dim_of_output": [_DIM] * _TABLES,
      "combiner_of_output": ["sum"] * _TABLES,
      "length_of_output": [0] * _TABLES,
      "table_dims": [_DIM] * _TABLES,
    }
    self._request, self._index = self._fixed(self.shard_ids())
    self._values = self._fixed(self.lookup())
    self._pooled = [self._fixed(p) for p in self.pool()]
    self._gradients = self._fixed(self.pool_grad()[0])
    # From here on all ids have rows.
    session.run(self.update())

  def _fixed(self, tensors):
    """Variables with the values of the tensors, so that nothing is folded."""
    values = self._session.run(tensors)
    variables = tf.nest.map_structure(
      lambda v: tf.compat.v1.get_variable(
        f"fixed{len(tf.compat.v1.global_variables())}", initializer=v
      ),
      values,
    )
    self._session.run(tf.compat.v1.global_variables_initializer())
    return tf.nest.map_structure(lambda v: v.value(), variables)

  def shard_ids(self):
    requests, index = self._ops.monolith_shard_ids(
      ids=self._ids,
      row_splits=self._splits,
      num_shards=1,
      table_of_feature=list(range(_TABLES)),
      table_dims=[_DIM] * _TABLES,
      feature_names=[f"feature{t}" for t in range(_TABLES)],
    )
    return requests[0], index

  def lookup(self):
    return self._ops.monolith_lookup(self._handle, self._request)

  def pool(self):
    return self._ops.monolith_pool(
      values=[self._values],
      index=self._index,
      row_splits=self._splits,
      requests=[self._request],
      num_outputs=_TABLES,
      **self._slices,
    )

  def pool_grad(self):
    return self._ops.monolith_pool_grad(
      gradients=self._pooled,
      requests=[self._request],
      index=self._index,
      row_splits=self._splits,
      feature_names=[f"feature{t}" for t in range(_TABLES)],
      output_names=[f"output{t}" for t in range(_TABLES)],
      **self._slices,
    )

  def update(self):
    return self._ops.monolith_update(
      self._handle,
      request=self._request,
      gradients=self._gradients,
      learning_rates=[0.05] * _TABLES,
      update_time=1,
      global_step=1,
    )


def _microseconds(session, make) -> float:
  """Best of several calls, per run of the op."""
  last = []
  for _ in range(_REPEATS):
    with tf.control_dependencies(last):
      made = make()
    last = [made if isinstance(made, tf.Operation) else tf.nest.flatten(made)[0].op]
  with tf.control_dependencies(last):
    end = tf.no_op()
  run = session.make_callable(end)
  seconds = []
  for _ in range(12):
    start = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - start)
  return min(seconds) / _REPEATS * 1e6


def main(_) -> None:
  names = ["shard_ids", "lookup", "pool", "pool_grad", "update"]
  # Without Grappler, which would run equal ops once.
  config = tf.compat.v1.ConfigProto()
  config.graph_options.optimizer_options.opt_level = -1
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  print("microseconds per op", *names, sep="\t")
  for batch in (512, 4096, 65_536):
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
      step = _Step(session, batch)
      costs = [_microseconds(session, getattr(step, name)) for name in names]
    print(f"{batch} x {_TABLES} ids", *(f"{cost:.0f}" for cost in costs), sep="\t")


if __name__ == "__main__":
  app.run(main)
