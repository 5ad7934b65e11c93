"""Messages of a Kafka client as columns, without a Python object for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from confluent_kafka import KafkaError, TopicPartition

from monolith.native_training.data.kafka.message_reader import _message_reader

_PLUGINS = "plugin.library.paths"
_READER = "monolith.message.reader"


class ReadMessages(NamedTuple):
  """Messages, those of each partition in its order and spread evenly among the others.

  Attributes:
    values: uint8 `[b]`, the bytes of all.
    begin: int64 `[n]`, where in `values` each begins.
    end: int64 `[n]`, where it ends. A message without value has no bytes.
    topics: each once.
    topic_index: int32 `[n]`, which of `topics`.
    partition: int32 `[n]`.
    offset: int64 `[n]`.
    timestamp: int64 `[n]`, milliseconds since the epoch, -1 where there is none.
  """

  values: np.ndarray
  begin: np.ndarray
  end: np.ndarray
  topics: list[str]
  topic_index: np.ndarray
  partition: np.ndarray
  offset: np.ndarray
  timestamp: np.ndarray


class ReadEvent(NamedTuple):
  """What came in place of a message: the end of a partition is an error too.

  Attributes:
    offset: None where the error is of none.
  """

  error: KafkaError
  topic: str
  partition: int
  offset: int | None


class MessageReader:
  """Takes the messages of partitions out of a client, which does all else itself.

      reader = MessageReader()
      client = Consumer(reader.settings({"group.id": "readers", ...}))
      # In the client's on_assign, before it assigns them:
      for partition in partitions:
        reader.claim(partition)

  Of the partitions, those are read first that are behind the others by their
  timestamps. The client is still to be polled, for its callbacks and errors.
  Thread-safe; calls wait for one another.
  """

  def __init__(self):
    self._reader = _message_reader.MessageReader()

  def settings(self, settings: Mapping[str, object]) -> dict[str, object]:
    """Settings with which a client gives its messages to this reader."""
    plugins = filter(None, (settings.get(_PLUGINS), _message_reader.__file__))
    # A plugin has to be known before its settings are.
    first = {_PLUGINS: ";".join(plugins), _READER: str(self._reader.id)}
    return {**first, **settings, **first}

  def claim(self, partition: TopicPartition) -> None:
    """Reads a partition when it is assigned to the client."""
    if not self._reader.claim(partition.topic, partition.partition):
      raise RuntimeError(f"no client gives its messages of {partition} to this reader")

  def read(self, most: int, secs: float) -> tuple[ReadMessages, list[ReadEvent]]:
    """Waits for so many messages and events, but not longer than `secs`.

    Returns:
      What has come, maybe nothing; without a client that is open always nothing.
    """
    *columns, events = self._reader.read(most, int(1000 * secs))
    return ReadMessages(*columns), [
      ReadEvent(
        KafkaError(code, text), topic, partition, offset if offset >= 0 else None
      )
      for code, text, topic, partition, offset in events
    ]

  def detach(self) -> None:
    """Has nothing more to do with the client, which then can be closed."""
    self._reader.detach()
