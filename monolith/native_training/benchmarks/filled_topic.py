"""A topic that is full of messages before anybody reads it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import confluent_kafka

from monolith.native_training.data import kafka_topics

_SETTINGS = {
  "linger.ms": "50",
  "batch.num.messages": "10000",
  "queue.buffering.max.messages": "1000000",
}
_RUN = 1000  # Messages in a row for one partition.
_SERVE_EVERY = 1000
_LAST_SECS = 120.0


def fill(
  servers: str, topic: str, partitions: int, values: Sequence[bytes], count: int
) -> None:
  """Makes a topic and sends `count` messages to it, the values again and again.

  Raises:
    RuntimeError: the topic cannot be made, or a message was not delivered.
  """
  kafka_topics.ensure(servers, topic, partitions)
  errors = []

  def delivered(error, message) -> None:
    del message
    if error:
      errors.append(error.str())

  producer = confluent_kafka.Producer({**_SETTINGS, "bootstrap.servers": servers})
  for i, value in zip(range(count), itertools.cycle(values), strict=False):
    while True:
      try:
        partition = i // _RUN % partitions
        producer.produce(topic, value, partition=partition, on_delivery=delivered)
        break
      except BufferError:
        producer.poll(0.1)
    if i % _SERVE_EVERY == 0:
      producer.poll(0)
  left = producer.flush(_LAST_SECS)
  if left or errors:
    raise RuntimeError(
      f"{left + len(errors):,} of {count:,} messages were not delivered: {errors[:1]}"
    )
