"""A consumer group: its clients, where it begins to read, what it has committed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from monolith.native_training.data.kafka import (
  kafka_settings,
  topic_admin,
  topic_patterns,
)
from monolith.native_training.data.kafka.broker_errors import BrokerErrors, StreamFailed
from monolith.native_training.data.kafka.message_reader.message_reader import (
  MessageReader,
)
from monolith.native_training.data.kafka.stream_offsets import MADE, Offsets, Partition
from monolith.native_training.data.kafka.topic_admin import TopicAdmin

_DEFAULTS = {
  "auto.offset.reset": "earliest",
  # librdkafka's own pause, a second, reads a tenth as fast.
  "fetch.queue.backoff.ms": "20",
  # How soon a member learns that others have come or gone.
  "heartbeat.interval.ms": "1000",
  # Training may stand still for long, as while a parameter server is away.
  "max.poll.interval.ms": "86400000",
  "partition.assignment.strategy": "cooperative-sticky",
  # Both of each partition, as each has a queue. What is read further ahead takes
  # memory, and has left the processor's caches when it is wanted.
  "queued.max.messages.kbytes": str(8 << 10),
  "queued.min.messages": "25000",
  # A broker that is back is found within a second.
  "reconnect.backoff.max.ms": "1000",
  # What a worker that was killed had goes to the others after so long.
  "session.timeout.ms": "10000",
  # How soon a topic or partition that is new is noticed.
  "topic.metadata.refresh.interval.ms": "5000",
}
# With `group.protocol=consumer` the brokers decide those.
_OF_CLASSIC_GROUPS = (
  "heartbeat.interval.ms",
  "partition.assignment.strategy",
  "session.timeout.ms",
)
_BY_CHECKPOINTS = "offsets are committed when a checkpoint covers them"
_FIXED = {
  "bootstrap.servers": "it is the argument `servers`",
  "enable.auto.commit": _BY_CHECKPOINTS,
  "enable.auto.offset.store": _BY_CHECKPOINTS,
  "enable.partition.eof": "it says when a stream is over",
  "group.id": "it is the argument `group_id`",
  "offset.store.method": _BY_CHECKPOINTS,
  "offset.store.path": _BY_CHECKPOINTS,
  "offset.store.sync.interval.ms": _BY_CHECKPOINTS,
  "topic.blacklist": "the argument `topics` says which are read",
}
_AT_END = ("latest", "largest", "end")
_ASK_SECS = 5.0  # For an answer of a broker.
_POLL_SECS = 0.1
_TRY_AGAIN_SECS = 0.5
_TIMES_WITHOUT_TOPIC = 4


class ConsumerGroup:
  """Who reads topics together, seen from outside: asking and committing here needs no
  membership.

  Args:
    topics, group_id, servers, configuration: see `datasets.create_plain_kafka_dataset`.

  Attributes:
    topics: names and patterns.
    name: the `group_id`.
    is_cooperative: members keep their partitions while others come and go.
    errors: of the clients.
    admin: asks about the topics.

  Raises:
    ValueError: a setting that librdkafka refuses.
  """

  def __init__(
    self,
    topics: Sequence[str],
    group_id: str,
    servers: str,
    configuration: Sequence[str] | None = None,
  ):
    self.topics = list(topics)
    self.name = group_id
    self._servers = servers
    own = kafka_settings.parse(configuration, _FIXED)
    is_classic = own.get("group.protocol", "classic").lower() == "classic"
    self._settings = {
      **kafka_settings.parse(configuration, _FIXED, _defaults(is_classic)),
      "bootstrap.servers": servers,
      "enable.auto.commit": "false",
      "enable.auto.offset.store": "false",
      "enable.partition.eof": "true",
      "group.id": group_id,
    }
    if not topic_patterns.are_internal_meant(self.topics):
      self._settings["topic.blacklist"] = "^__"
    strategy = self._settings.get("partition.assignment.strategy", "")
    self.is_cooperative = not is_classic or "cooperative" in strategy
    self.errors = BrokerErrors(
      str(self), self._settings.get("security.protocol", "plaintext")
    )
    self.admin = TopicAdmin(self.topics, self._settings, self.errors)
    self._reset = self._settings["auto.offset.reset"].lower()
    # Settings that librdkafka refuses are told at once; no broker is needed for that.
    self.client({"bootstrap.servers": ""}).close()

  def __str__(self):
    return f"{', '.join(self.topics)} from {self._servers}"

  def check_members(self, count: int) -> None:
    """Checks that it may have so many members with the same settings.

    Raises:
      ValueError: it may not.
    """
    if count > 1 and "group.instance.id" in self._settings:
      raise ValueError(
        "configuration: 'group.instance.id' names one member of a group, and each of "
        f"the {count} workers is one, which the brokers would not let in beside "
        "another: leave it out, or have one worker"
      )

  def client(
    self, settings: Mapping[str, Any] = {}, reader: MessageReader | None = None
  ) -> Consumer:
    """A new client, which is no member before it subscribes. Its errors go to `errors`.

    Args:
      settings: in place of the group's, or callbacks.
      reader: gets the messages of the partitions that it claims.
    """
    own = {**self._settings, "error_cb": self.errors.note, **settings}
    if reader:
      own = reader.settings(own)
    try:
      return Consumer(own, logger=self.errors)
    except KafkaException as error:
      raise ValueError(f"configuration: {error.args[0].str()}") from None

  def own(self, offsets: Offsets) -> list[TopicPartition]:
    """Those of this group's partitions, as its clients take them."""
    return [
      TopicPartition(p.topic, p.partition, offset)
      for p, offset in offsets.items()
      if p.group == self.name and p.is_real
    ]

  def first_offsets(self) -> Offsets | None:
    """Where it begins to read: what it has committed, and for the other
    partitions of its topics what `auto.offset.reset` says. None, and a warning in the
    log, if the brokers do not answer.

    Raises:
      StreamFailed: the brokers refuse this consumer, or `auto.offset.reset` is "error"
        and nothing is committed.
    """
    consumer = self.client()
    try:
      partitions = self.admin.partitions()
      if not partitions:
        return {}
      committed = _checked(consumer.committed(partitions, timeout=_ASK_SECS))
      new = [p for p in committed if p.offset < 0]
      self._reset_offsets(new)
      if new and self._reset in _AT_END:
        # Whoever begins anew before there is a checkpoint must not begin further on.
        _checked(consumer.commit(offsets=new, asynchronous=False))
      return {Partition(self.name, p.topic, p.partition): p.offset for p in committed}
    except KafkaException as error:
      consumer.poll(0)  # Errors that say more.
      self.admin.note(error)
      return None
    finally:
      consumer.close()

  def topics_made(self) -> Offsets | None:
    """See `TopicAdmin.topics_made`: of each topic a mark `MADE`."""
    made = self.admin.topics_made()
    return None if made is None else self.marks(made)

  def marks(self, made: Mapping[str, int]) -> Offsets:
    """The mark `MADE` of each topic, with half of its id."""
    return {Partition(self.name, name, MADE): half for name, half in made.items()}

  def _reset_offsets(self, partitions: Sequence[TopicPartition]) -> None:
    """Sets offsets to what `auto.offset.reset` says."""
    if partitions and self._reset == "error":
      raise StreamFailed(
        f"group {self.name!r} has committed no offset of {place(partitions[0])}, and "
        "auto.offset.reset=error"
      )
    bounds = self.admin.bounds(partitions)
    for p in partitions:
      begin, end = bounds[p.topic, p.partition]
      p.offset = end if self._reset in _AT_END else begin

  def commit_last(
    self, offsets: Offsets, deadline: float, answer_by: float = math.inf
  ) -> None:
    """Makes sure that offsets are committed. Where a member has not done so that can be
    done when all have left the group; one that was killed does so after its session
    timeout. Topics that are gone need no offsets.

    Args:
      deadline: until when to try, by `time.monotonic`.
      answer_by: until when to wait for a first answer of the brokers.

    Raises:
      StreamFailed: it could not be done.
    """
    own = self.own(offsets)
    if not own:
      return
    wanted = {(p.topic, p.partition): p.offset for p in own}
    answers: list[KafkaError | None] = []

    def on_commit(error: KafkaError | None, partitions: list[TopicPartition]) -> None:
      errors = (p.error for p in partitions if p.error)
      answers.append(error or next(errors, None))

    last = "no answer of the brokers"
    without_topic = 0
    give_up = min(answer_by, deadline)
    consumer = self.client({"on_commit": on_commit})
    try:
      while (left := give_up - time.monotonic()) > 0:
        try:
          # A commit that finds no coordinator of the group holds up `close` for long.
          found = consumer.committed(own, timeout=left)
          if all(wanted[p.topic, p.partition] == p.offset for p in found):
            return
          give_up = deadline
          answers.clear()
          consumer.commit(offsets=own, asynchronous=True)
          while not answers and time.monotonic() < deadline:
            consumer.poll(_POLL_SECS)
          if answers and answers[0] is None:
            return
          if answers:
            last = answers[0].str()
            # All other offsets are committed. A new topic is unknown for a moment, too.
            without_topic += topic_admin.is_gone(answers[0])
          if without_topic >= _TIMES_WITHOUT_TOPIC:
            return
        except KafkaException as error:
          last = error.args[0].str()
        time.sleep(max(min(_TRY_AGAIN_SECS, give_up - time.monotonic()), 0))
      raise StreamFailed(last)
    finally:
      consumer.close()


def _defaults(is_classic: bool) -> dict[str, str]:
  return {
    key: value
    for key, value in _DEFAULTS.items()
    if is_classic or key not in _OF_CLASSIC_GROUPS
  }


def place(p: TopicPartition) -> str:
  """A partition, for people."""
  return f"topic {p.topic!r}, partition {p.partition}"


def _checked(partitions: list[TopicPartition]) -> list[TopicPartition]:
  """Raises KafkaException where an answer has an error for one of its partitions."""
  for p in partitions:
    if p.error:
      raise KafkaException(p.error)
  return partitions
