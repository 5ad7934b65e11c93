"""Bad messages sent to a Kafka topic, where people can look at them."""

import atexit
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from monolith.native_training.data.bad_messages import BadMessage
from monolith.native_training.data.kafka import kafka_settings
from monolith.native_training.data.kafka.client_log import ClientLog

_LOG_EVERY_SECS = 60
_POLL_SECS = 10.0  # Between looks at what has become of messages.
_DEFAULTS = {"linger.ms": "100", "compression.type": "lz4"}
_FIXED = {
  "bootstrap.servers": "it is the argument `servers`",
  **kafka_settings.FIXED_BY_SENDING,
}


class KafkaDeadLetters:
  """Sends bad messages, unchanged, to a topic.

  Each has the headers `source_topic`, `source_partition`, `source_offset` (decimal) and
  `reason`, all UTF-8; the first three are missing if it was not from Kafka.

  The topic is made, with one partition, unless it is there; where the brokers do not
  make it, the log says why, and they are asked again.

  Training does not wait for the topic: messages are sent in the background, and what
  cannot be delivered is logged, once a minute at most, and counted in `failed`.
  `close` waits for what is under way; it runs at the end of the process by itself. What
  is not acknowledged when a process is killed is lost without being counted, unless no
  checkpoint covers it yet, so that it is read again. What a job reads again, after it
  was stopped or killed, is also sent again: a message may be there more than once.

  The topic must have another name than those that are read, which a pattern may mean
  unnoticed: what is sent to it would come back as bad, for ever. Training stops at the
  first bad message that comes from there.

  Thread-safe. The connection is made by the first message, in the process that sends
  it, so that an object may be made before processes fork.

  Args:
    servers: addresses of brokers, "host:port", several with commas between.
    topic: the name of the topic.
    configuration: settings of librdkafka, as "key=value".
    make_producer: makes the producer from its settings, and the topic is not made;
      None means `confluent_kafka.Producer`.

  Raises:
    ValueError: if an argument is not as described, or librdkafka refuses a setting.
    ImportError: if confluent-kafka is not installed.
  """

  def __init__(
    self,
    servers: str,
    topic: str,
    configuration: Sequence[str] | None = None,
    make_producer: Callable[[dict[str, Any]], Any] | None = None,
  ):
    for name, value in (("servers", servers), ("topic", topic)):
      if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be a string that is not empty, got {value!r}")
    self._topic = topic
    self._settings = kafka_settings.parse(configuration, _FIXED, _DEFAULTS)
    self._settings["bootstrap.servers"] = servers
    self._make_producer = make_producer or _confluent_producer
    self._is_topic_made = make_producer is not None
    self._new_producer()  # Settings that librdkafka refuses are told at once.
    self._lock = threading.Lock()  # of what follows
    self._producer = None
    self._process = -1
    self._is_closed = threading.Event()
    self._poller: threading.Thread | None = None
    self._delivered = 0
    self._failed = 0
    self._error: Any = None  # Of the latest that failed.
    self._failed_at_log = 0
    self._logged_at = -math.inf

  @property
  def delivered(self) -> int:
    """How many messages the brokers have acknowledged."""
    with self._lock:
      return self._delivered

  @property
  def failed(self) -> int:
    """How many messages are lost."""
    with self._lock:
      return self._failed

  def send(self, bad: Sequence[BadMessage]) -> None:
    """Sends messages, in the background.

    Raises:
      RuntimeError: one comes from the topic itself; none is sent.
    """
    for message in bad:
      if message.topic == self._topic:
        raise RuntimeError(
          f"the topic {self._topic!r} is read, and bad messages are sent to it, so "
          f"that they would come back for ever: {message.place} is bad "
          f"({message.reason}). Send them to a topic of another name, or read topics "
          "by a pattern that does not mean it"
        )
    producer = self._connected()
    for message in bad:
      try:
        self._produce(producer, message)
      except BufferError:
        producer.poll(0.1)  # Makes room, if the brokers answer.
        try:
          self._produce(producer, message)
        except Exception as error:
          self._count_failure(error)
      except Exception as error:  # Too large, for example.
        self._count_failure(error)
    producer.poll(0)
    self._log_failures()

  def close(self, timeout_secs: float = 10.0) -> None:
    """Waits until all is delivered; what takes longer is counted as failed."""
    with self._lock:
      producer, self._producer = self._producer, None
      poller = self._poller
    atexit.unregister(self.close)
    if producer is None or self._process != os.getpid():
      return
    give_up = time.monotonic() + timeout_secs
    self._is_closed.set()
    left = producer.flush(timeout_secs)
    poller.join(max(give_up - time.monotonic(), 0))
    if left:
      self._count_failure(f"{left} were still under way", left)
    self._log_failures(is_last=True)

  def _connected(self) -> Any:
    with self._lock:
      if self._producer is None or self._process != os.getpid():
        self._producer = self._new_producer()
        self._process = os.getpid()
        self._is_closed = threading.Event()
        self._poller = threading.Thread(
          target=self._poll, args=(self._producer, self._is_closed), daemon=True
        )
        self._poller.start()
        atexit.register(self.close)
      return self._producer

  def _poll(self, producer: Any, is_closed: threading.Event) -> None:
    """Makes the topic, and looks at what becomes of messages when no other comes."""
    logged_at = -math.inf
    while True:
      error = None if self._is_topic_made else self._make_topic()
      if error and time.monotonic() >= logged_at + _LOG_EVERY_SECS:
        logged_at = time.monotonic()
        logging.error("bad messages cannot be sent yet: %s", error)
      if is_closed.wait(_POLL_SECS):
        return
      producer.poll(0)
      self._log_failures()

  def _make_topic(self) -> RuntimeError | None:
    """Returns why it cannot be made."""
    from monolith.native_training.data import kafka_topics

    try:
      servers = self._settings["bootstrap.servers"]
      kafka_topics.ensure(servers, self._topic, 1, self._settings)
    except RuntimeError as error:
      return error
    self._is_topic_made = True
    return None

  def _new_producer(self) -> Any:
    try:
      return self._make_producer({**self._settings, "error_cb": self._on_error})
    except ImportError:
      raise
    except Exception as error:
      raise ValueError(
        f"no producer for dead-letter topic {self._topic!r}: {error}"
      ) from error

  def _on_error(self, error: Any) -> None:
    """Takes an error of the connection; messages may wait for minutes behind it."""
    logging.log_every_n_seconds(
      logging.WARNING,
      "sending bad messages to topic %r of %s: %s",
      _LOG_EVERY_SECS,
      self._topic,
      self._settings["bootstrap.servers"],
      error.str(),
    )

  def _produce(self, producer: Any, message: BadMessage) -> None:
    headers = [("reason", message.reason.encode())]
    if message.topic:
      headers += [
        ("source_topic", message.topic.encode()),
        ("source_partition", str(message.partition).encode()),
        ("source_offset", str(message.offset).encode()),
      ]
    producer.produce(
      self._topic,
      value=message.message,
      headers=headers,
      on_delivery=self._on_delivery,
    )

  def _on_delivery(self, error: Any, unused_message: Any) -> None:
    if error is not None:
      self._count_failure(error)
      return
    with self._lock:
      self._delivered += 1

  def _count_failure(self, error: Any, count: int = 1) -> None:
    with self._lock:
      self._failed += count
      self._error = error

  def _log_failures(self, is_last: bool = False) -> None:
    now = time.monotonic()
    with self._lock:
      failed, error = self._failed, self._error
      is_soon = now < self._logged_at + _LOG_EVERY_SECS
      if failed == self._failed_at_log or (is_soon and not is_last):
        return
      self._failed_at_log, self._logged_at = failed, now
    logging.error(
      "bad messages cannot be sent to dead-letter topic %r (%s lost so far): %s",
      self._topic,
      f"{failed:,}",
      error,
    )


def _confluent_producer(settings: dict[str, Any]) -> Any:
  import confluent_kafka

  try:
    return confluent_kafka.Producer(settings, logger=ClientLog())
  except confluent_kafka.KafkaException as error:
    raise ValueError(error.args[0].str()) from None
