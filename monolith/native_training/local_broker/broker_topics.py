"""Topics of a broker, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import confluent_kafka
from confluent_kafka import admin

_ANSWER_SECS = 30.0


class BrokerTopics:
  """Makes topics and sends to them.

  Args:
    servers: the brokers.
    settings: of librdkafka, for the connection.
  """

  def __init__(self, servers: str, settings: Mapping[str, str] = {}):
    self._settings = {**settings, "bootstrap.servers": servers}
    self._admin = admin.AdminClient(self._settings)

  def make(
    self, name: str, partitions: int = 1, configuration: Mapping[str, str] = {}
  ) -> None:
    """Makes a topic with one copy."""
    new = admin.NewTopic(name, partitions, 1, config=dict(configuration))
    self._admin.create_topics([new])[name].result(_ANSWER_SECS)

  def send(self, name: str, messages: Iterable[bytes | Mapping[str, Any]]) -> None:
    """Sends messages, and returns when the brokers have them.

    Args:
      name: of the topic.
      messages: their values, or what `Producer.produce` takes of each.
    """
    # In order, also where a message has to be sent again.
    producer = confluent_kafka.Producer({**self._settings, "enable.idempotence": True})
    for message in messages:
      columns = {"value": message} if isinstance(message, bytes) else message
      producer.produce(name, **columns)
    if left := producer.flush(_ANSWER_SECS):
      raise TimeoutError(f"{left} messages were not sent to {name}")
