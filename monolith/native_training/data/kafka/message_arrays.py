"""Messages of a client of Kafka as NumPy arrays."""

from __future__ import annotations

import contextlib
import gc
import operator
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from confluent_kafka import Message

from monolith.native_training.data.kafka.kafka_messages import KafkaMessages

_second = operator.itemgetter(1)

# The columns of no message.
NONE = KafkaMessages(
  message=np.empty(0, object),
  topic=np.empty(0, object),
  partition=np.empty(0, np.int32),
  offset=np.empty(0, np.int64),
  timestamp=np.empty(0, np.int64),
  position=np.empty(0, np.int64),
)


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
  """For making and dropping many objects: Python would look through those of the whole
  process, TensorFlow's among them, each time that it has counted so many new ones."""
  if not gc.isenabled():
    yield
    return
  gc.disable()
  try:
    yield
  finally:
    gc.enable()


def of(
  messages: Sequence[Message],
  only_topic: str | None,
  emit: Callable[[str | Sequence[str], np.ndarray, np.ndarray], np.ndarray],
) -> KafkaMessages:
  """The columns of messages, at least one.

  Args:
    only_topic: of all, where that is known; then `topic` has one row.
    emit: `StreamLedger.emit`, which says their positions.
  """
  # All that runs for each message is C code: a million come in a second.
  count = len(messages)
  # A message without a value is a tombstone: no bytes.
  value = np.array([each or b"" for each in map(Message.value, messages)], object)
  if only_topic:
    topic, topics = only_topic, np.array([only_topic], object)
  else:
    topic = topics = np.array(list(map(Message.topic, messages)), object)
  partition = np.fromiter(map(Message.partition, messages), np.int32, count)
  offset = np.fromiter(map(Message.offset, messages), np.int64, count)
  stamps = map(_second, map(Message.timestamp, messages))
  return KafkaMessages(
    message=value,
    topic=topics,
    partition=partition,
    offset=offset,
    timestamp=np.fromiter(stamps, np.int64, count),
    position=emit(topic, partition, offset),
  )
