"""TensorFlow Recommenders Addons (TFRA). Runs in an environment of its own."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders_addons as tfra

from monolith.native_training.benchmarks.table.subject import Subject
from monolith.native_training.benchmarks.table.workload import (
  INITIAL_ACCUMULATOR,
  LEARNING_RATE,
  Workload,
)

_CPU = "/CPU:0"
_LOOKED_UP = "looked_up"


class Cuckoo(Subject):
  """`CuckooHashTable`, the table itself."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._table = tfra.dynamic_embedding.CuckooHashTable(
      tf.int64, tf.float32, default_value=tf.zeros([workload.dim])
    )

  def insert(self, keys, rows):
    self._table.insert(keys, rows)

  def lookup(self, keys):
    return self._table.lookup(keys)


class Variable(Subject):
  """`dynamic_embedding.Variable`: what its users train, in one shard."""

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._variable = tfra.dynamic_embedding.get_variable(
      f"benchmark{id(self)}",
      key_dtype=tf.int64,
      value_dtype=tf.float32,
      dim=workload.dim,
      devices=[_CPU],
      initializer=tf.keras.initializers.Zeros(),
    )

  def insert(self, keys, rows):
    self._variable.upsert(keys, rows)

  def lookup(self, keys):
    return self._variable.lookup(keys)


class Adagrad(Variable):
  """`DynamicEmbeddingOptimizer` around Keras's Adagrad.

  It changes rows that were looked up for it, so that reading them is a part of it.
  """

  def __init__(self, workload: Workload):
    super().__init__(workload)
    self._optimizer = tfra.dynamic_embedding.DynamicEmbeddingOptimizer(
      tf.keras.optimizers.legacy.Adagrad(LEARNING_RATE, INITIAL_ACCUMULATOR)
    )

  def update(self, keys, gradients):
    unique, inverse = tf.unique(keys)
    sums = tf.math.unsorted_segment_sum(gradients, inverse, tf.size(unique))
    tfra.dynamic_embedding.embedding_lookup(self._variable, unique, name=_LOOKED_UP)
    looked_up = self._variable.get_trainable_by_name(_LOOKED_UP)
    self._optimizer.apply_gradients([(sums, looked_up)])


SUBJECTS = {
  "TFRA Variable": Variable,
  "TFRA CuckooHashTable": Cuckoo,
  "TFRA Adagrad": Adagrad,
}
