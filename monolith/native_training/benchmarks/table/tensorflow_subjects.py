"""Ours, and what TensorFlow itself has."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from monolith.native_training import entry, hash_table_ops
from monolith.native_training.benchmarks.table.subject import Subject
from monolith.native_training.benchmarks.table.workload import (
  INITIAL_ACCUMULATOR,
  LEARNING_RATE,
  Workload,
)


class Monolith(Subject):
  """`HashTable` whose optimizer keeps no state."""

  optimizer: entry.Optimizer = entry.SgdOptimizer()

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._table = hash_table_ops.HashTable(
      "benchmark", workload.dim, optimizer=self.optimizer
    )

  def insert(self, keys, rows):
    self._table.assign(keys, rows)

  def lookup(self, keys):
    return self._table.lookup(keys)

  def memory_bytes(self) -> int:
    """What the table says that it takes."""
    return int(self._table.memory_bytes())


class MonolithAdagrad(Monolith):
  """`HashTable` with Adagrad's state beside each row."""

  optimizer = entry.AdagradOptimizer(LEARNING_RATE, INITIAL_ACCUMULATOR)

  def update(self, keys, gradients):
    self._table.apply_gradients(keys, gradients)

  def grow(self, keys, rows):
    self.update(keys, rows)

  def grown(self, initial, rows):
    gradients = rows.astype(np.float64)
    steps = gradients / np.sqrt(INITIAL_ACCUMULATOR + gradients**2)
    return initial - LEARNING_RATE * steps


class Dense(Subject):
  """`tf.lookup.experimental.DenseHashTable`: open addressing, values in one tensor."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._table = tf.lookup.experimental.DenseHashTable(
      tf.int64,
      tf.float32,
      default_value=tf.zeros([workload.dim]),
      # Two keys that may not be inserted; no id of any workload is mixed into them.
      empty_key=tf.int64.max,
      deleted_key=tf.int64.min,
    )

  def insert(self, keys, rows):
    self._table.insert(keys, rows)

  def lookup(self, keys):
    return self._table.lookup(keys)


class Mutable(Subject):
  """`tf.lookup.experimental.MutableHashTable`: chained, an allocation a row."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._table = tf.lookup.experimental.MutableHashTable(
      tf.int64, tf.float32, default_value=tf.zeros([workload.dim])
    )

  def insert(self, keys, rows):
    self._table.insert(keys, rows)

  def lookup(self, keys):
    return self._table.lookup(keys)


class Static(Subject):
  """`tf.gather` on a `tf.Variable` of all rows: no ids, row numbers."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._rows = tf.Variable(tf.zeros([workload.ids, workload.dim]))

  def keys(self, numbers):
    return tf.constant(numbers)

  def insert(self, keys, rows):
    self._rows.scatter_update(tf.IndexedSlices(rows, keys))

  def lookup(self, keys):
    return tf.gather(self._rows, keys)


class StaticAdagrad(Static):
  """TensorFlow's Adagrad with sparse gradients on a `tf.Variable`."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._optimizer = tf.compat.v1.train.AdagradOptimizer(
      LEARNING_RATE, INITIAL_ACCUMULATOR
    )

  def update(self, keys, gradients):
    # Without a shape, which would be read from a copy of all rows.
    gradients = tf.IndexedSlices(gradients, keys)
    self._optimizer.apply_gradients([(gradients, self._rows)])


SUBJECTS = {
  "monolith": Monolith,
  "monolith Adagrad": MonolithAdagrad,
  "DenseHashTable": Dense,
  "MutableHashTable": Mutable,
  "tf.gather": Static,
  "tf.Variable Adagrad": StaticAdagrad,
}
