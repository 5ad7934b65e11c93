"""Runs a model before it serves, so that no request pays for first times.

As TensorFlow Serving does, it replays the requests that the exporter left in
`assets.extra/tf_serving_warmup_requests`, a file of records that are `PredictionLog`s.
Besides, signatures run on batches of zeros, at several sizes, and on one of zeros and
ones: their contents may tell how many rows they give.
"""

import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import prediction_log_pb2

from monolith.serving.errors import ServingError
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature, TensorSpec

_REQUESTS = os.path.join("assets.extra", "tf_serving_warmup_requests")
_MAX_REQUESTS = 1000
_MAX_EXAMPLES = 1024  # Of zeros: more would take memory for nothing.
_USUAL_EXAMPLES = 64


def batch_sizes(max_batch_size: int | None) -> list[int]:
  """Sizes to run before requests come.

  Args:
    max_batch_size: of the batches that requests are merged into. None where they are
      not: clients may never send many at once, for which a model may have no memory,
      least of all beside the version that is served meanwhile.
  """
  largest = min(max_batch_size or _USUAL_EXAMPLES, _MAX_EXAMPLES)
  return sorted({1, 2, min(_USUAL_EXAMPLES, largest), largest})


def warm_up(
  servable: Servable, batch_sizes: Sequence[int], max_bytes: int | None = None
) -> None:
  """Runs all signatures.

  Args:
    servable: what was just loaded.
    batch_sizes: examples of each batch of zeros, less where its inputs would take more
      than `max_bytes`.
    max_bytes: None for any.

  Raises:
    ServingError, ValueError: a recorded request does not run.
  """
  for signature in servable.signatures.values():
    if signature.is_batch:
      for size in _within(max_bytes, signature, batch_sizes):
        if not _runs(servable, signature, size, ones=False):
          break
      _runs(servable, signature, 3, ones=True)
  for request in _recorded(servable.path):
    signature = servable.signature(request.model_spec.signature_name)
    feeds = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
    signature.check_names(feeds.keys())
    signature.check_shapes(feeds)
    servable.run(signature, feeds)


def _within(
  max_bytes: int | None, signature: Signature, sizes: Sequence[int]
) -> list[int]:
  """The sizes, those of too many bytes replaced by the largest that is not."""
  if max_bytes is None:
    return list(sizes)
  example = sum(
    math.prod(_shape(spec, 1)) * np.dtype(spec.dtype.as_numpy_dtype).itemsize
    for spec in signature.inputs.values()
  )
  largest = max(1, max_bytes // max(1, example))
  return sorted({min(size, largest) for size in sizes})


def _runs(servable: Servable, signature: Signature, size: int, ones: bool) -> bool:
  """Runs zeros, or zeros and ones in turn, if the model takes them."""
  inputs = signature.inputs.items()
  try:
    servable.run(signature, {name: _batch(spec, size, ones) for name, spec in inputs})
  # They need not mean anything to a model, and many may take too much memory.
  except (ServingError, MemoryError) as error:
    what = "zeros and ones" if ones else "zeros"
    logging.info("%s does not take %d %s: %s", signature.name, size, what, error)
    return False
  return True


def _batch(spec: TensorSpec, size: int, ones: bool) -> np.ndarray:
  shape = _shape(spec, size)
  is_text = spec.dtype == tf.string
  if is_text:
    batch = np.full(shape, b"", object)
  else:
    batch = np.zeros(shape, spec.dtype.as_numpy_dtype)
  if ones:
    batch[1::2] = b"1" if is_text else 1
  return batch


def _shape(spec: TensorSpec, size: int) -> list[int]:
  return [size, *(1 if d is None else d for d in spec.shape[1:])]


def _recorded(path: str) -> Iterator:
  """`PredictRequest`s of the exporter's file, if there is one."""
  file = os.path.join(path, _REQUESTS)
  if not tf.io.gfile.exists(file):
    return
  for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(file)):
    if count == _MAX_REQUESTS:
      return
    log = prediction_log_pb2.PredictionLog.FromString(record)
    if log.HasField("predict_log"):
      yield log.predict_log.request
