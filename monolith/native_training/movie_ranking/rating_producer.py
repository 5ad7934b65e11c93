"""Sends ratings to a Kafka topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import confluent_kafka

from monolith.native_training.data.example_values import serialize_one
from monolith.native_training.data.kafka import kafka_settings
from monolith.native_training.data.kafka.client_log import ClientLog
from monolith.native_training.movie_ranking.delivery_errors import DeliveryErrors

_DEFAULTS = {
  "acks": "all",
  "compression.type": "lz4",
  "enable.idempotence": "true",
  "linger.ms": "20",
}
_FIXED = {
  "bootstrap.servers": "it is --servers",
  **kafka_settings.FIXED_BY_SENDING,
}
_ALL_ACKS = ("all", "-1")  # Which idempotence asks for.
_POLL_SECS = 0.1
_LAST_SECS = 30.0


class ProducerFailed(Exception):
  """No more ratings can be sent; the message says why."""


class RatingProducer:
  """Sends ratings as serialized `tf.train.Example`s, keyed by user.

  Args:
    servers: brokers, "host:port".
    topic: where to send them.
    configuration: settings of librdkafka, "key=value".
    errors: are told what could not be delivered.
    check: called with every rating, and again and again where there is something to
      wait for; ends that by what it raises.

  Attributes:
    delivered: how many a broker has acknowledged.

  Raises:
    ValueError: a setting that librdkafka does not know, or that is not to choose.
  """

  def __init__(
    self,
    servers: str,
    topic: str,
    configuration: Sequence[str],
    errors: DeliveryErrors,
    check: Callable[[], object] = lambda: None,
  ):
    settings = kafka_settings.parse(configuration, _FIXED, _DEFAULTS)
    acks = settings.get("acks", settings.get("request.required.acks"))
    if acks.strip().lower() not in _ALL_ACKS:
      # Where the user sets idempotence too, librdkafka says that this cannot be.
      own = kafka_settings.parse(configuration, _FIXED)
      settings["enable.idempotence"] = own.get("enable.idempotence", "false")
    try:
      self._producer = confluent_kafka.Producer(
        {**settings, "bootstrap.servers": servers, "error_cb": self._on_error},
        logger=ClientLog(),
      )
    except confluent_kafka.KafkaException as error:
      raise ValueError(f"configuration: {error.args[0].str()}") from None
    self._topic = topic
    self._check = check
    self._errors = errors
    self._fatal = ""  # Why librdkafka takes no more, if it does not.
    self.delivered = 0

  def send(self, user: int, movie: int, stars: float) -> None:
    """Sends one rating; waits only while too many are under way. One that is refused
    at once, as when the topic has gone, counts as not delivered.

    Raises:
      ProducerFailed: it is the last one that can be sent.
    """
    value = serialize_one({"mov": [movie], "uid": [user], "label": [stars]})
    while True:
      try:
        self._producer.produce(
          self._topic, value, key=str(user), on_delivery=self._on_delivery
        )
        break
      except BufferError:
        self._poll(_POLL_SECS)
      except confluent_kafka.KafkaException as error:
        self._errors.add(error.args[0].str())
        break
    self._poll(0)
    if self._fatal:
      raise ProducerFailed(f"no more ratings can be sent: {self._fatal}")

  def wait(self, secs: float) -> None:
    """Lets time pass."""
    until = time.monotonic() + secs
    while (left := until - time.monotonic()) > 0:
      self._poll(min(left, _POLL_SECS))

  def finish(self, is_urgent: Callable[[], bool] | None = None) -> None:
    """Waits for what is under way; what is not delivered by then counts as an error.

    Args:
      is_urgent: called again and again, in place of `check`; ends the wait when it says
        so.
    """
    begin = time.monotonic()
    while left := self._producer.flush(_POLL_SECS):
      self._errors.tell()
      if not is_urgent:
        self._check()
      elif is_urgent():
        break
      if time.monotonic() - begin >= _LAST_SECS:
        break
    if left:
      waited = time.monotonic() - begin
      self._errors.add(f"not acknowledged within {waited:.0f} s", left)

  def _poll(self, secs: float) -> None:
    self._producer.poll(secs)
    self._errors.tell()
    self._check()

  def _on_error(self, error: confluent_kafka.KafkaError) -> None:
    if error.fatal():
      self._fatal = error.str()

  def _on_delivery(self, error: Any, unused_message: Any) -> None:
    if error is None:
      self.delivered += 1
    else:
      self._errors.add(error.str())
