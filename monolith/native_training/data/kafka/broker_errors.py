"""What errors of brokers mean for who reads from them: waiting, or the end."""

from __future__ import annotations

import re
import time

from absl import logging
from confluent_kafka import KafkaError

from monolith.native_training.data.kafka.client_log import ClientLog, is_debug

# Mended by whoever runs the brokers, or by time.
_PASSING = (
  KafkaError._ALL_BROKERS_DOWN,
  KafkaError._TRANSPORT,
  KafkaError._RESOLVE,
  # Training stood still for longer than members may: this one joins anew.
  KafkaError._MAX_POLL_EXCEEDED,
  # No partition that was asked about has a leader, or is there.
  KafkaError._NOENT,
  KafkaError._TIMED_OUT,
  KafkaError._TIMED_OUT_QUEUE,
  KafkaError._UNKNOWN_TOPIC,
  KafkaError._UNKNOWN_PARTITION,
  KafkaError._WAIT_COORD,
  KafkaError.UNKNOWN_TOPIC_OR_PART,
  KafkaError.BROKER_NOT_AVAILABLE,
  KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
  KafkaError.COORDINATOR_NOT_AVAILABLE,
  KafkaError.FENCED_LEADER_EPOCH,
  KafkaError.KAFKA_STORAGE_ERROR,
  KafkaError.LEADER_NOT_AVAILABLE,
  KafkaError.NETWORK_EXCEPTION,
  KafkaError.NOT_COORDINATOR,
  KafkaError.NOT_LEADER_FOR_PARTITION,
  KafkaError.OFFSET_NOT_AVAILABLE,
  KafkaError.REBALANCE_IN_PROGRESS,
  KafkaError.REPLICA_NOT_AVAILABLE,
  KafkaError.REQUEST_TIMED_OUT,
  KafkaError.UNKNOWN_LEADER_EPOCH,
  # Of who commits for a group that has members still.
  KafkaError.ILLEGAL_GENERATION,
  KafkaError.STALE_MEMBER_EPOCH,
  KafkaError.UNKNOWN_MEMBER_ID,
)
_OF_CONNECTIONS = (
  KafkaError._ALL_BROKERS_DOWN,
  KafkaError._TRANSPORT,
  KafkaError._TIMED_OUT,
)
_SAY_AGAIN_SECS = 60.0
_CLOSED = re.compile(r"Disconnected.*\(after (\d+)ms in state (\w+)")
# A connection that is not used is closed after minutes; a busy broker takes seconds.
_SOON_MS = 10_000
# One that has no login is up before its first request, at which a broker that wants a
# login closes it; later it is the broker that has gone.
_SOON_UP_MS = 1000


class StreamFailed(Exception):
  """Messages cannot be read; the message says why."""


class BrokerErrors(ClientLog):
  """Sorts the errors of clients that read one stream.

  It is their logger too: only its log tells why brokers close connections.

  Args:
    stream: what is read, for people.
    protocol: the clients' `security.protocol`.
  """

  def __init__(self, stream: str, protocol: str):
    self._stream = stream
    self._protocol = protocol
    self._said: dict[int, float] = {}  # When each error was logged last.
    self._failure = ""  # Of the last connection that failed, if not told yet.

  def log(self, level: int, line: str, *values: object) -> None:
    """See `ClientLog`; keeps why a connection failed."""
    super().log(level, line, *values)
    # With `debug` there are connections too that were to end.
    if values and values[0] == "FAIL" and not is_debug(level):
      self._failure = re.sub(r"^\[thrd:.*?\]: ", "", str(values[-1]))

  def note(self, error: KafkaError) -> None:
    """Logs an error that will pass, once a minute for each kind.

    Raises:
      StreamFailed: it will not.
    """
    if not passes(error):
      raise StreamFailed(f"cannot read {self._stream}: {error.str()}")
    code, now = error.code(), time.monotonic()
    if now - self._said.get(code, -_SAY_AGAIN_SECS) >= _SAY_AGAIN_SECS:
      self._said[code] = now
      text = self.explained(error)
      logging.warning("reading %s: %s; waiting for it", self._stream, text)

  def explained(self, error: KafkaError) -> str:
    """An error's text, and what the last failed connection adds to it."""
    text = error.str()
    return text + self._more_than(text) if error.code() in _OF_CONNECTIONS else text

  def _more_than(self, text: str) -> str:
    failure, self._failure = self._failure, ""
    more = f" ({failure})" if failure and failure not in text else ""
    closed = _CLOSED.search(failure)
    if closed and int(closed[1]) < (_SOON_UP_MS if closed[2] == "UP" else _SOON_MS):
      more += (
        ". Brokers that close new connections often want another security.protocol "
        f"than {self._protocol!r}: ssl for TLS, sasl_plaintext or sasl_ssl for a login"
      )
    return more


def passes(error: KafkaError) -> bool:
  """Whether waiting may help."""
  if error.fatal():
    return False
  if error.code() == KafkaError._SSL:
    # A connection that broke, where others tell of certificates.
    return "SSL transport error" in error.str()
  return error.code() in _PASSING or error.retriable()
