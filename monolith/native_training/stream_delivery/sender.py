"""Sends numbered messages at a steady rate, whatever happens to the broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import confluent_kafka

_FLUSH_SECS = 60.0
_TURN_SECS = 0.02


class Sender(threading.Thread):
  """Sends messages 0, 1, ... in turn to the partitions of a topic.

  Messages that a broker has not acknowledged are sent again, each is in the topic once.

  Args:
    servers: brokers.
    message: makes one of its number.
    count: how many messages.
    rate: of them a second.

  Attributes:
    began_at: by `time.monotonic`, when the first was sent; None before.
    sent: how many were handed to the client.
    acknowledged: how many the broker has.
    problem: what went wrong, or `""`.
  """

  def __init__(
    self,
    servers: str,
    topic: str,
    partitions: int,
    message: Callable[[int], bytes],
    count: int,
    rate: float,
  ):
    super().__init__(daemon=True)
    self._message = message
    self._producer = confluent_kafka.Producer(
      {
        "bootstrap.servers": servers,
        "enable.idempotence": True,
        # As soon as the broker is back.
        "reconnect.backoff.max.ms": 500,
        "log_level": 0,  # A broker that is away is meant to be.
      }
    )
    self._topic = topic
    self._partitions = partitions
    self._count = count
    self._rate = rate
    self._over = threading.Event()
    self.began_at: float | None = None
    self.sent = 0
    self.acknowledged = 0
    self.problem = ""

  def run(self) -> None:
    begin = self.began_at = time.monotonic()
    while self.sent < self._count and not self._over.is_set():
      due = min(int((time.monotonic() - begin) * self._rate), self._count)
      for number in range(self.sent, due):
        self._producer.produce(
          self._topic,
          self._message(number),
          partition=number % self._partitions,
          on_delivery=self._on_delivery,
        )
        self.sent = number + 1
      self._producer.poll(0)
      self._over.wait(_TURN_SECS)
    left = 0 if self._over.is_set() else self._producer.flush(_FLUSH_SECS)
    if left:
      self.problem = f"{left} messages could not be sent"

  def stop(self) -> None:
    """Sends no more."""
    self._over.set()
    self.join()

  def _on_delivery(self, error, sent: confluent_kafka.Message) -> None:
    del sent
    if error is None:
      self.acknowledged += 1
    else:
      self.problem = f"a message could not be sent: {error.str()}"
