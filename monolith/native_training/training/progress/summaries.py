"""TensorBoard scalars."""

import os
import time
from collections.abc import Mapping

import tensorflow as tf


def add(
  writer: tf.compat.v1.summary.FileWriter, step: int, values: Mapping[str, float]
) -> None:
  """Adds one point to each named curve."""
  scalar = tf.compat.v1.Summary.Value
  points = [scalar(tag=tag, simple_value=value) for tag, value in values.items()]
  writer.add_summary(tf.compat.v1.Summary(value=points), step)


def write(folder: str, step: int, values: Mapping[str, float]) -> None:
  """Adds one point to each named curve of a folder, in a file of its own."""
  # TensorFlow names files by the second; a second one would replace the first.
  suffix = f".{os.getpid()}.{time.monotonic_ns()}"
  with tf.Graph().as_default():  # The writer refuses to work eagerly.
    with tf.compat.v1.summary.FileWriter(folder, filename_suffix=suffix) as writer:
      add(writer, step, values)
