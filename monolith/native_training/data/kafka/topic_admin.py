"""What brokers say of topics, asked beside reading."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import (
  IsolationLevel,
  KafkaError,
  KafkaException,
  TopicCollection,
  TopicPartition,
)
from confluent_kafka.admin import (
  AdminClient,
  OffsetSpec,
  TopicDescription,
  TopicMetadata,
)

from monolith.native_training.data.kafka import topic_patterns
from monolith.native_training.data.kafka.broker_errors import BrokerErrors, passes

_ASK_SECS = 5.0  # For an answer of a broker.


class Bounds(NamedTuple):
  """Between which offsets a partition has messages, up to `end` without it."""

  begin: int
  end: int


class TopicAdmin:
  """Asks about a group's topics by connections of its own, on which no answer waits for
  a fetch, as it does on a consumer's: half a second each. Thread-safe.

  Args:
    topics: names and patterns.
    settings: of the group's consumers.
    errors: of its client.
  """

  def __init__(
    self, topics: Sequence[str], settings: Mapping[str, str], errors: BrokerErrors
  ):
    self._topics = topics
    self._settings = settings
    self._errors = errors
    uncommitted = settings.get("isolation.level", "").lower() == "read_uncommitted"
    # Where the consumers read to.
    self._isolation = (
      IsolationLevel.READ_UNCOMMITTED if uncommitted else IsolationLevel.READ_COMMITTED
    )
    self._lock = threading.Lock()
    self._client: AdminClient | None = None

  def _connected(self) -> AdminClient:
    with self._lock:
      if self._client is None:
        # Settings of consumers, which it takes no notice of, would be told.
        self._client = AdminClient(
          {**self._settings, "error_cb": self._errors.note}, logger=self._errors
        )
      client = self._client
    client.poll(0)  # Its errors and its log.
    return client

  def close(self) -> None:
    """Disconnects; who asks again connects again."""
    with self._lock:
      self._client = None

  def partitions(self) -> list[TopicPartition]:
    """All partitions of the topics that there are.

    Raises:
      KafkaException: the brokers cannot say.
    """
    there = self._connected().list_topics(timeout=_ASK_SECS).topics
    return [
      TopicPartition(name, number)
      for name, topic in there.items()
      if topic_patterns.is_meant_by_any(name, self._topics)
      for number in _partitions_of(topic)
    ]

  def bounds(
    self, partitions: Iterable[TopicPartition]
  ) -> dict[tuple[str, int], Bounds]:
    """What there is of partitions, by topic and number, asked of all at once.

    Raises:
      KafkaException: the brokers of one cannot say.
    """
    keys = [(p.topic, p.partition) for p in partitions]
    if not keys:
      return {}
    client = self._connected()
    asked = [
      client.list_offsets(
        {TopicPartition(*key): spec for key in keys},
        isolation_level=self._isolation,
        request_timeout=_ASK_SECS,
      )
      for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    ]
    begins, ends = (
      {(p.topic, p.partition): answer.result().offset for p, answer in answers.items()}
      for answers in asked
    )
    return {key: Bounds(begins[key], ends[key]) for key in keys}

  def note(self, error: KafkaException) -> None:
    """Logs that brokers have not answered, and why. See `BrokerErrors.note`."""
    self._connected()  # Errors that say more.
    self._errors.note(error.args[0])

  def topics_made(self) -> dict[str, int] | None:
    """Which topics its names mean now, see `TopicIds.halves`. None, and a warning in
    the log, if the brokers do not answer."""
    try:
      names = {p.topic for p in self.partitions()}
      return self.ask_ids(names).halves() if names else {}
    except KafkaException as error:
      self.note(error)
      return None

  def ask_ids(self, names: Iterable[str]) -> TopicIds:
    """Asks for the ids of topics, at least one, and does not wait for them."""
    return TopicIds(
      self._connected().describe_topics(
        TopicCollection(sorted(names)), request_timeout=_ASK_SECS
      )
    )


class TopicIds:
  """The ids of topics, which brokers may not have told yet."""

  def __init__(self, answers: Mapping[str, Future[TopicDescription]]):
    self._answers = answers

  def are_there(self) -> bool:
    """Whether they are told, or never will be."""
    return all(answer.done() for answer in self._answers.values())

  def halves(self) -> dict[str, int]:
    """Half the id of each topic that is there, where its brokers give it one; waits.

    Raises:
      KafkaException: the brokers do not answer.
    """
    halves, errors = self.answers()
    if errors:
      raise errors[0]
    return halves

  def answers(self) -> tuple[dict[str, int], list[KafkaException]]:
    """The halves that brokers tell, and errors of topics that may be there later or on
    another broker; waits."""
    halves, errors = {}, []
    for name, answer in self._answers.items():
      error = answer.exception()
      if error is None:
        bits = answer.result().topic_id.get_least_significant_bits()
        if bits:
          halves[name] = bits & ((1 << 63) - 1)
      elif not isinstance(error, KafkaException):
        raise error
      elif passes(error.args[0]):
        errors.append(error)
      # Else it may not be described.
    return halves, errors


def is_gone(error: KafkaError) -> bool:
  """Whether an error says that a topic or partition is not there any more."""
  return error.code() in (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
  )


def _partitions_of(topic: TopicMetadata) -> Iterable[int]:
  """Raises KafkaException where the brokers cannot say."""
  if topic.error is not None and not is_gone(topic.error):
    raise KafkaException(topic.error)
  return topic.partitions
