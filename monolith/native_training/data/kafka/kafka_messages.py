"""What a dataset of Kafka messages yields."""

from typing import NamedTuple

import tensorflow as tf

# Names under which `decode_example` passes on where and when its messages were sent.
POSITION = "stream_position"
EVENT_TIME_MS = "event_time_ms"


class KafkaMessages(NamedTuple):
  """A batch of messages.

  Attributes:
    message: string `[n]`, their values.
    topic: string `[n]`.
    partition: int32 `[n]`.
    offset: int64 `[n]`.
    timestamp: int64 `[n]`, milliseconds since the epoch.
    position: int64 `[n]`, an opaque mark of the place in the stream.
  """

  message: tf.Tensor
  topic: tf.Tensor
  partition: tf.Tensor
  offset: tf.Tensor
  timestamp: tf.Tensor
  position: tf.Tensor
