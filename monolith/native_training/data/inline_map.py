"""Mapping the elements of a dataset in the thread that asks for them.

`Dataset.map` hands each element to a pool of threads and waits, which costs more than
a small function does.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def map_inline(dataset: tf.data.Dataset, function: Callable) -> tf.data.Dataset:
  """`dataset.map(function)`, one op after the other in the thread that reads it.

  Args:
    dataset: of tensors, or tuples of them.
    function: returns tensors, in any structure; without control flow.
  """
  element = dataset.element_spec
  arguments = element if isinstance(element, tuple) else (element,)
  traced = tf.function(function, autograph=False).get_concrete_function(*arguments)
  spec = tf.nest.map_structure(
    lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), traced.structured_outputs
  )
  tensors = tf.nest.flatten(spec)
  mapped = tf.raw_ops.MapDataset(
    input_dataset=tf.data.experimental.to_variant(dataset),
    other_arguments=traced.captured_inputs,
    f=traced,
    output_types=[tensor.dtype for tensor in tensors],
    output_shapes=[tensor.shape for tensor in tensors],
    use_inter_op_parallelism=False,
    force_synchronous=True,
  )
  return tf.data.experimental.from_variant(mapped, spec)
