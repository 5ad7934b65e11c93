"""What is measured: some store of rows behind TensorFlow ops."""

from __future__ import annotations

import abc

import numpy as np
import tensorflow as tf

from monolith.native_training.benchmarks.table.workload import Workload


class Subject(abc.ABC):
  """A store of rows, at first empty. Its methods may be traced by `tf.function`.

  Args:
    workload: sizes. Tables that grow begin small, whatever it says.
  """

  def __init__(self, workload: Workload):
    self.workload = workload

  def keys(self, numbers: np.ndarray) -> tf.Tensor:
    """How this store calls the rows of these numbers, int64 `[n]`: by default, ids."""
    return tf.constant(self.workload.id_of(numbers))

  @abc.abstractmethod
  def insert(self, keys: tf.Tensor, rows: tf.Tensor) -> None:
    """Sets rows, float32 `[n, dim]`."""

  @abc.abstractmethod
  def lookup(self, keys: tf.Tensor) -> tf.Tensor:
    """Reads rows, float32 `[n, dim]`."""

  def update(self, keys: tf.Tensor, gradients: tf.Tensor) -> None:
    """One step of Adagrad with gradients float32 `[n, dim]`, after summing those of
    repeated keys."""
    raise NotImplementedError(f"{type(self).__name__} does not train")

  def grow(self, keys: tf.Tensor, rows: tf.Tensor) -> None:
    """Adds rows as this store is meant to get them: by default, `insert`."""
    self.insert(keys, rows)

  def grown(self, initial: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What `grow` should have made of rows: by default, the rows that it was given.

    Args:
      initial: what `lookup` gave before, float32 `[n, dim]`.
      rows: what `grow` was given, float32 `[n, dim]`.

    Returns:
      `[n, dim]`.
    """
    del initial
    return rows
