"""Messages of Kafka topics as arrays, read by a consumer of a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import confluent_kafka
import numpy as np
from absl import logging
from confluent_kafka import KafkaError, Message

from monolith.native_training.data import kafka_settings
from monolith.native_training.data.kafka_messages import KafkaMessages

# librdkafka's own defaults read a tenth as fast.
_DEFAULTS = {
  "auto.offset.reset": "earliest",
  "fetch.message.max.bytes": str(10 << 20),
  "max.partition.fetch.bytes": str(10 << 20),
  # Training may stand still for long, as while a parameter server is away.
  "max.poll.interval.ms": "86400000",
  "partition.assignment.strategy": "cooperative-sticky",
  "queued.min.messages": "1000000",
  # What a worker that was killed had goes to the others after so long.
  "session.timeout.ms": "10000",
  # How soon a topic or partition that is new is noticed.
  "topic.metadata.refresh.interval.ms": "5000",
}
_FIXED = {
  "bootstrap.servers": "it is the argument `servers`",
  "enable.auto.commit": "offsets are committed when messages are trained on",
  "enable.auto.offset.store": "offsets are committed when messages are trained on",
  "group.id": "it is the argument `group_id`",
}
_CONSUME = 10000  # Messages a call: each call has its price.
_CONSUME_SECS = 0.1  # Longest wait for so many.
_NOTICE_SECS = 60.0
# Mended by whoever runs the brokers, or by time.
_PASSING = (
  KafkaError._ALL_BROKERS_DOWN,
  KafkaError._TRANSPORT,
  KafkaError._RESOLVE,
  KafkaError._TIMED_OUT,
  KafkaError._UNKNOWN_TOPIC,
  KafkaError._UNKNOWN_PARTITION,
  KafkaError.UNKNOWN_TOPIC_OR_PART,
  KafkaError.LEADER_NOT_AVAILABLE,
  KafkaError.NOT_LEADER_FOR_PARTITION,
)


class StreamFailed(Exception):
  """Messages cannot be read; the message says why."""


class KafkaStream:
  """Reads topics, each time from where the group has committed.

  Args: see `datasets.create_plain_kafka_dataset`.

  Raises:
    ValueError: an argument is not as described there.
  """

  def __init__(
    self,
    topics: Sequence[str],
    group_id: str,
    servers: str,
    stream_timeout: int = -1,
    message_poll_timeout: int = 10000,
    poll_batch_size: int = 1024,
    configuration: Sequence[str] | None = None,
  ):
    self._topics = [topics] if isinstance(topics, str) else list(topics)
    if not self._topics or not all(isinstance(t, str) and t for t in self._topics):
      raise ValueError(f"topics: got {topics!r}, wanted names of topics, at least one")
    for name, value in (("group_id", group_id), ("servers", servers)):
      if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: got {value!r}, wanted a string that is not empty")
    for name, value, least in (
      ("stream_timeout", stream_timeout, -1),
      ("message_poll_timeout", message_poll_timeout, 1),
      ("poll_batch_size", poll_batch_size, 1),
    ):
      if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(
          f"{name}: got {value!r}, wanted a whole number from {least} on"
        )
    self._servers = servers
    self._timeout_secs = stream_timeout / 1000 if stream_timeout >= 0 else None
    self._notice_secs = message_poll_timeout / 1000
    self._batch_size = poll_batch_size
    self._settings = {
      **_DEFAULTS,
      **kafka_settings.parse(configuration, _FIXED),
      "bootstrap.servers": servers,
      "enable.auto.commit": "false",
      "enable.auto.offset.store": "false",
      "group.id": group_id,
    }
    self._next_position = 0
    self._said: dict[int, float] = {}  # When each error was logged last.
    self._consumer().close()  # Settings that librdkafka refuses are told at once.

  def _consumer(self) -> confluent_kafka.Consumer:
    try:
      return confluent_kafka.Consumer(
        {**self._settings, "error_cb": self._on_error}, logger=_Silent()
      )
    except confluent_kafka.KafkaException as error:
      raise ValueError(f"configuration: {error.args[0].str()}") from None

  def batches(self) -> Iterator[KafkaMessages]:
    """Yields batches of NumPy arrays, of 1 to `poll_batch_size` messages, in the order
    of each partition, until there was no message for `stream_timeout`.

    Raises:
      StreamFailed: the brokers refuse this consumer.
    """
    consumer = self._consumer()
    try:
      consumer.subscribe(self._topics)
      heard = noticed = time.monotonic()
      while True:
        messages = self._checked(consumer.consume(_CONSUME, _CONSUME_SECS))
        for begin in range(0, len(messages), self._batch_size):
          yield self._arrays(messages[begin : begin + self._batch_size])
        now = time.monotonic()
        if messages:
          heard = noticed = now
        elif self._timeout_secs is not None and now - heard >= self._timeout_secs:
          return
        elif now - noticed >= self._notice_secs:
          noticed = now
          logging.log_every_n_seconds(
            logging.INFO,
            "no message of %s for %.0f s",
            _NOTICE_SECS,
            ", ".join(self._topics),
            now - heard,
          )
    finally:
      consumer.close()

  def _checked(self, messages: list[Message]) -> list[Message]:
    """Without those that are none, but errors of partitions."""
    if not any(map(Message.error, messages)):
      return messages
    for message in messages:
      if message.error():
        self._on_error(message.error())
    return [message for message in messages if not message.error()]

  def _on_error(self, error: KafkaError) -> None:
    code = error.code()
    if code == KafkaError._PARTITION_EOF:
      return
    if error.fatal() or not (code in _PASSING or error.retriable()):
      raise StreamFailed(
        f"cannot read {', '.join(self._topics)} from {self._servers}: {error.str()}"
      )
    now = time.monotonic()
    if now - self._said.get(code, -_NOTICE_SECS) >= _NOTICE_SECS:
      self._said[code] = now
      logging.warning(
        "reading %s from %s: %s; waiting for it",
        ", ".join(self._topics),
        self._servers,
        error.str(),
      )

  def _arrays(self, messages: list[Message]) -> KafkaMessages:
    count = len(messages)
    begin = self._next_position
    self._next_position += count
    value = np.empty(count, object)
    # A message without a value is a tombstone: no bytes.
    value[:] = [each or b"" for each in map(Message.value, messages)]
    topic = np.empty(count, object)
    topic[:] = (
      self._topics[0]
      if len(self._topics) == 1 and not self._topics[0].startswith("^")
      else list(map(Message.topic, messages))
    )
    return KafkaMessages(
      message=value,
      topic=topic,
      partition=np.fromiter(map(Message.partition, messages), np.int32, count),
      offset=np.fromiter(map(Message.offset, messages), np.int64, count),
      timestamp=np.fromiter(
        (stamp for _, stamp in map(Message.timestamp, messages)), np.int64, count
      ),
      position=np.arange(begin, begin + count, dtype=np.int64),
    )


class _Silent:
  """Takes librdkafka's own log lines, which say again what its errors say."""

  def log(self, *arguments) -> None:
    del arguments
