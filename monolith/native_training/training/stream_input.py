"""The end of a dataset that reads streams: every batch says how far they are read."""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.data import stream_ledger, stream_offsets
from monolith.native_training.data.kafka_messages import EVENT_TIME_MS, POSITION
from monolith.native_training.runtime.ops import loader

_OFFSETS = "monolith_stream_offsets"


@dataclasses.dataclass
class StreamMarks:
  """What a batch of a stream says of itself.

  Attributes:
    offsets: string scalar, `stream_offsets.encode` of how far the streams are read with
      it; empty if it is not to count.
    event_time_ms: int64 `[n]`, when its examples' events were, if it says so.
  """

  offsets: tf.Tensor
  event_time_ms: tf.Tensor | None


def with_offsets(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Leaves out batches without examples, and adds offsets to the others.

  Raises:
    ValueError: its elements do not say which messages they are.
  """
  if POSITION not in dataset.element_spec:
    raise ValueError(
      "input_fn reads messages of Kafka, but its elements do not say which: they lack "
      f"{POSITION!r}. Pass the whole element, not its message only, to decode_example, "
      f"and keep {POSITION!r} in what comes after"
    )

  def add(features: dict[str, Any]) -> dict[str, Any]:
    offsets, error = tf.numpy_function(
      _take, [features[POSITION]], [tf.string, tf.string]
    )
    error.set_shape([])
    with tf.control_dependencies([loader.ops().monolith_fail(error)]):
      offsets = tf.identity(offsets)
    offsets.set_shape([])
    return {**features, _OFFSETS: offsets}

  # In order and one at a time: what comes later must not be noted earlier.
  return (
    dataset.filter(lambda features: tf.size(features[POSITION]) > 0)
    .map(add, name="stream_offsets")
    .prefetch(1)
  )


def split(features: dict[str, Any]) -> tuple[dict[str, Any], StreamMarks]:
  """What the model gets of a batch, and the rest."""
  rest = dict(features)
  offsets = rest.pop(_OFFSETS)
  del rest[POSITION]
  return rest, StreamMarks(offsets, rest.pop(EVENT_TIME_MS, None))


def _take(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  try:
    offsets = stream_ledger.take(np.ravel(positions))
  except Exception as error:  # The op has its message, without a traceback.
    logging.debug("taking a batch of a stream failed", exc_info=True)
    return np.array(b"", object), np.array(str(error).encode(), object)
  encoded = b"" if offsets is None else stream_offsets.encode(offsets)
  return np.array(encoded, object), np.array(b"", object)
