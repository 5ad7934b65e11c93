"""A member of a Kafka consumer group that is told where its partitions begin."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging
from confluent_kafka import (
  Consumer,
  KafkaError,
  KafkaException,
  Message,
  TopicPartition,
)
from confluent_kafka.admin import TopicMetadata

from monolith.native_training.data import kafka_settings
from monolith.native_training.data.broker_errors import BrokerErrors, StreamFailed
from monolith.native_training.data.stream_offsets import BEGUN, Offsets, Partition

# librdkafka's own defaults read a tenth as fast.
_DEFAULTS = {
  "auto.offset.reset": "earliest",
  "fetch.message.max.bytes": str(10 << 20),
  # How soon a member learns that others have come or gone.
  "heartbeat.interval.ms": "1000",
  # Training may stand still for long, as while a parameter server is away.
  "max.poll.interval.ms": "86400000",
  "partition.assignment.strategy": "cooperative-sticky",
  "queued.min.messages": "1000000",
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
}
_AT_END = ("latest", "largest", "end")
_CONSUME = 10000  # Messages a call: each call has its price.
_CONSUME_SECS = 0.1  # Longest wait for so many.
_ASK_SECS = 5.0  # For an answer of a broker.
_SAY_AGAIN_SECS = 60.0
_TRY_AGAIN_SECS = 0.5
_TIMES_WITHOUT_TOPIC = 4


class PartitionEnds(NamedTuple):
  """What there is of a partition.

  Attributes:
    begin: offset of its first message.
    end: offset behind its last one.
    is_read: all that there is was read; offsets without message may be at its end.
  """

  begin: int
  end: int
  is_read: bool


class GroupConsumer:
  """Reads topics as a member of a group. Used by one thread at a time, but for `commit`
  and `lags`.

  Args:
    topics, group_id, servers, configuration: see `datasets.create_plain_kafka_dataset`.
    begins_at: says from which offset a partition is to be read; None is where the group
      has committed, or else as `auto.offset.reset` says.

  Attributes:
    has_joined: it has got partitions, or word that there are none for it.
    deleted_messages: how many the brokers had deleted before they were read, for a job;
      offsets without message are counted too.

  Raises:
    ValueError: a setting that librdkafka refuses.
  """

  def __init__(
    self,
    topics: Sequence[str],
    group_id: str,
    servers: str,
    configuration: Sequence[str] | None = None,
    begins_at: Callable[[Partition], int | None] = lambda partition: None,
  ):
    self._topics = topics
    self._group = group_id
    self._servers = servers
    self._begins_at = begins_at
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
    strategy = self._settings.get("partition.assignment.strategy", "")
    self._is_cooperative = not is_classic or "cooperative" in strategy
    self._errors = BrokerErrors(
      str(self), self._settings.get("security.protocol", "plaintext")
    )
    self._reset = self._settings["auto.offset.reset"].lower()
    self._consumer: Consumer | None = None
    self._is_of_job = False
    self._to_commit: Offsets = {}
    self._commit_lock = threading.Lock()
    # Up to where partitions were read when nothing was left to read.
    self._read_to: dict[tuple[str, int], int] = {}
    self._ended: dict[tuple[str, int], int] = {}  # The same, not noted yet.
    self._last_ends: dict[Partition, PartitionEnds] = {}  # When it left the group.
    # Up to where deleted messages are counted.
    self._deleted_to: dict[tuple[str, int], int] = {}
    self.deleted_messages = 0
    self.has_joined = False
    self._new().close()  # Settings that librdkafka refuses are told at once.

  def __str__(self):
    return f"{', '.join(self._topics)} from {self._servers}"

  def _new(self, settings: Mapping[str, Any] = {}) -> Consumer:
    callbacks = {"error_cb": self._errors.note, "on_commit": self._on_commit}
    try:
      return Consumer({**callbacks, **self._settings, **settings}, logger=self._errors)
    except KafkaException as error:
      raise ValueError(f"configuration: {error.args[0].str()}") from None

  def open(self, is_of_job: bool = False) -> None:
    """Joins the group, where this has not done so.

    Args:
      is_of_job: `begins_at` knows where to begin, so that `auto.offset.reset` does not
        count; what brokers have deleted is noted, and nothing of what is left skipped.
    """
    if self._consumer:
      return
    self.has_joined = False
    self._is_of_job = is_of_job
    self._consumer = self._new({"auto.offset.reset": "error"} if is_of_job else {})
    self._consumer.subscribe(
      self._topics, on_assign=self._on_assign, on_lost=self._on_lost
    )

  def close(self) -> None:
    """Leaves the group."""
    self._note_ends()
    self.has_joined = False
    if self._consumer:
      self._last_ends = self.ends()
      consumer, self._consumer = self._consumer, None
      consumer.close()

  def consume(self, piece: int = 1) -> list[Message]:
    """The next messages, after at most 0.1 s.

    Args:
      piece: how many the caller wants together; of as many as come at once, only whole
        pieces are taken.

    Raises:
      StreamFailed: the brokers refuse this consumer, or have lost what it was to read.
    """
    self._note_ends()
    most = _CONSUME - _CONSUME % piece or _CONSUME
    messages = self._consumer.consume(most, _CONSUME_SECS)
    if not any(map(Message.error, messages)):
      return messages
    for message in messages:
      error = message.error()
      code = error and error.code()
      if code == KafkaError._PARTITION_EOF:
        self._ended[message.topic(), message.partition()] = message.offset()
      elif code == KafkaError._AUTO_OFFSET_RESET and self._is_of_job:
        self._read_what_is_left(message)
      elif error:
        self._errors.note(error)
    return [message for message in messages if not message.error()]

  def _note_ends(self) -> None:
    """Notes ends that came with the messages of the call before, whose receiver knows
    them by now."""
    self._read_to.update(self._ended)
    self._ended = {}

  def seek(self, offsets: Offsets) -> None:
    """Reads partitions from other offsets on, as far as they are this member's."""
    own = {(p.topic, p.partition) for p in self._consumer.assignment()}
    for (_, topic, partition), offset in offsets.items():
      if (topic, partition) in own:
        self._forget_end(topic, partition)
        self._consumer.seek(TopicPartition(topic, partition, offset))

  def _forget_end(self, topic: str, partition: int) -> None:
    self._read_to.pop((topic, partition), None)
    self._ended.pop((topic, partition), None)

  def is_at_end(self) -> bool:
    """Whether the brokers of all this member's partitions are there, and say that it
    has read all messages."""
    if not self.has_joined:
      return False
    self._note_ends()
    try:
      own = self._consumer.assignment()
      for p in own:
        _, end = self._consumer.get_watermark_offsets(p, timeout=_ASK_SECS)
        if self._read_to.get((p.topic, p.partition), -1) < end:
          return False
      if not own:
        self._consumer.list_topics(timeout=_ASK_SECS)
    except KafkaException as error:
      self._errors.note(error.args[0])
      return False
    return True

  def ends(self) -> dict[Partition, PartitionEnds]:
    """What there is of each of this member's partitions, as far as the brokers have
    told; of one that has left the group, what there was."""
    consumer = self._consumer
    if consumer is None:
      return self._last_ends
    ends = {}
    for p in consumer.assignment():
      begin, end = consumer.get_watermark_offsets(p, cached=True)
      if end >= 0:
        is_read = self._read_to.get((p.topic, p.partition), -1) >= end
        key = Partition(self._group, p.topic, p.partition)
        ends[key] = PartitionEnds(max(begin, 0), end, is_read)
    return ends

  def group_offsets(self) -> Offsets | None:
    """Where the group begins to read: what it has committed, and for the other
    partitions of its topics what `auto.offset.reset` says. None, and a warning in the
    log, if the brokers do not answer.

    Raises:
      StreamFailed: the brokers refuse this consumer, or `auto.offset.reset` is "error"
        and nothing is committed.
    """
    consumer = self._new()
    try:
      there = consumer.list_topics(timeout=_ASK_SECS).topics
      partitions = [
        TopicPartition(name, number)
        for name, topic in there.items()
        if any(is_meant(name, pattern) for pattern in self._topics)
        for number in _partitions_of(topic)
      ]
      if not partitions:
        return {}
      committed = _checked(consumer.committed(partitions, timeout=_ASK_SECS))
      offsets, ends = {}, []
      for p in committed:
        offset = p.offset
        if offset < 0:
          offset = self._offset_of_reset(consumer, p)
          if self._reset in _AT_END:
            ends.append(TopicPartition(p.topic, p.partition, offset))
        offsets[Partition(self._group, p.topic, p.partition)] = offset
      if ends:
        # Whoever begins anew before there is a checkpoint must not begin further on.
        _checked(consumer.commit(offsets=ends, asynchronous=False))
      return offsets
    except KafkaException as error:
      consumer.poll(0)  # Errors that say more.
      self._errors.note(error.args[0])
      return None
    finally:
      consumer.close()

  def _offset_of_reset(self, consumer: Consumer, p: TopicPartition) -> int:
    if self._reset == "error":
      raise StreamFailed(
        f"group {self._group!r} has committed no offset of {_place(p)}, and "
        "auto.offset.reset=error"
      )
    begin, end = consumer.get_watermark_offsets(p, timeout=_ASK_SECS)
    return end if self._reset in _AT_END else begin

  def commit(self, offsets: Offsets) -> None:
    """Asks the brokers to commit offsets of this group, whosever partitions they are,
    and asks again in the next call while they have not done so."""
    with self._commit_lock:
      self._to_commit.update(self._own(offsets))
      waiting = self._as_list(self._to_commit)
    consumer = self._consumer
    if waiting and consumer:
      try:
        consumer.commit(offsets=waiting, asynchronous=True)
      except KafkaException as error:
        self._on_commit(error.args[0], [])

  def commit_last(self, offsets: Offsets, deadline: float) -> None:
    """Makes sure that offsets are committed. Where a member has not done so that can be
    done when all have left the group; one that was killed does so after its session
    timeout. Topics that are gone need no offsets.

    Args:
      deadline: until when to try, by `time.monotonic`.

    Raises:
      StreamFailed: it could not be done.
    """
    own = self._as_list(self._own(offsets))
    if not own:
      return
    wanted = {(p.topic, p.partition): p.offset for p in own}
    answers: list[KafkaError | None] = []

    def on_commit(error: KafkaError | None, partitions: list[TopicPartition]) -> None:
      errors = (p.error for p in partitions if p.error)
      answers.append(error or next(errors, None))

    last = "no answer of the brokers"
    without_topic = 0
    consumer = self._new({"on_commit": on_commit})
    try:
      while (left := deadline - time.monotonic()) > 0:
        try:
          # A commit that finds no coordinator of the group holds up `close` for long.
          found = consumer.committed(own, timeout=left)
          if all(wanted[p.topic, p.partition] == p.offset for p in found):
            return
          answers.clear()
          consumer.commit(offsets=own, asynchronous=True)
          while not answers and time.monotonic() < deadline:
            consumer.poll(_CONSUME_SECS)
          if answers and answers[0] is None:
            return
          if answers:
            last = answers[0].str()
            # All other offsets are committed. A new topic is unknown for a moment, too.
            without_topic += _is_gone(answers[0])
          if without_topic >= _TIMES_WITHOUT_TOPIC:
            return
        except KafkaException as error:
          last = error.args[0].str()
        time.sleep(max(min(_TRY_AGAIN_SECS, deadline - time.monotonic()), 0))
      raise StreamFailed(last)
    finally:
      consumer.close()

  def _own(self, offsets: Offsets) -> Offsets:
    return {
      p: offset
      for p, offset in offsets.items()
      if p.group == self._group and p.partition != BEGUN
    }

  def _as_list(self, offsets: Offsets) -> list[TopicPartition]:
    return [TopicPartition(p.topic, p.partition, o) for p, o in offsets.items()]

  def _on_commit(
    self, error: KafkaError | None, partitions: list[TopicPartition]
  ) -> None:
    if error is not None:  # Of one partition at least: it is not told of which.
      logging.log_every_n_seconds(
        logging.WARNING,
        "not all offsets of a checkpoint are committed yet: %s",
        _SAY_AGAIN_SECS,
        error.str(),
      )
      return
    with self._commit_lock:
      for p in partitions:
        key = Partition(self._group, p.topic, p.partition)
        if p.error is None and self._to_commit.get(key) == p.offset:
          del self._to_commit[key]

  def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    self.has_joined = True
    answers = True
    for p in partitions:
      self._forget_end(p.topic, p.partition)
      offset = self._begins_at(Partition(self._group, p.topic, p.partition))
      if offset is not None:
        p.offset = offset
      # Brokers that do not answer are not asked for every partition.
      if p.offset >= 0 and answers:
        answers = self._pass_deleted(consumer, p)
    if self._is_cooperative:
      consumer.incremental_assign(partitions)
    else:
      consumer.assign(partitions)

  def _read_what_is_left(self, message: Message) -> None:
    """Reads a partition on whose next message is not there: reading has stopped."""
    consumer = self._consumer
    p = TopicPartition(message.topic(), message.partition(), message.offset())
    own = consumer.assignment()
    if p not in own:
      return  # It has gone to another member.
    if p.offset < 0:
      raise StreamFailed(f"cannot read {_place(p)}: {message.error().str()}")
    self._pass_deleted(consumer, p)
    if self._is_cooperative:
      consumer.incremental_unassign([p])
      consumer.incremental_assign([p])
      return
    rest = [q for q in consumer.position(own) if q != p]
    for q in rest:
      if q.offset < 0:  # Nothing was read of it.
        q.offset = self._begins_at(Partition(self._group, q.topic, q.partition))
    consumer.assign([*rest, p])

  def _pass_deleted(self, consumer: Consumer, p: TopicPartition) -> bool:
    """Moves the offset of a partition behind messages that brokers have deleted; False
    if they do not answer."""
    try:
      first, end = consumer.get_watermark_offsets(p, timeout=_ASK_SECS)
    except KafkaException:
      return False  # Whatever keeps them from answering will be told.
    if p.offset > end:
      raise StreamFailed(
        f"{_place(p)} ends at offset {end}, but training was at {p.offset}: the topic "
        "was made anew, or brokers have lost messages. Use another group_id to train "
        "on it from its beginning"
      )
    if p.offset >= first:
      return True
    begin, p.offset = p.offset, first
    begin = max(begin, self._deleted_to.get((p.topic, p.partition), 0))
    if begin >= first:
      return True  # They are counted.
    self._deleted_to[p.topic, p.partition] = first
    self.deleted_messages += first - begin
    logging.error(
      "%s: %s messages, offsets %d to %d, were DELETED by the brokers before they were "
      "trained on; training goes on behind them. The topic keeps its messages for too "
      "short a time",
      _place(p),
      f"{first - begin:,}",
      begin,
      first - 1,
    )
    return True

  def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    del consumer, partitions
    self.has_joined = False  # It joins anew.


def _defaults(is_classic: bool) -> dict[str, str]:
  return {
    key: value
    for key, value in _DEFAULTS.items()
    if is_classic or key not in _OF_CLASSIC_GROUPS
  }


def is_meant(topic: str, pattern: str) -> bool:
  """Whether a subscription to a pattern has a topic."""
  if pattern.startswith("^"):
    return re.match(pattern, topic) is not None
  return topic == pattern


def _place(p: TopicPartition) -> str:
  return f"topic {p.topic!r}, partition {p.partition}"


def _is_gone(error: KafkaError) -> bool:
  """Whether an error says that a topic or partition is not there any more."""
  return error.code() in (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
  )


def _partitions_of(topic: TopicMetadata) -> Iterable[int]:
  """Raises KafkaException where the brokers cannot say."""
  if topic.error is not None and not _is_gone(topic.error):
    raise KafkaException(topic.error)
  return topic.partitions


def _checked(partitions: list[TopicPartition]) -> list[TopicPartition]:
  """Raises KafkaException where an answer has an error for one of its partitions."""
  for p in partitions:
    if p.error:
      raise KafkaException(p.error)
  return partitions
