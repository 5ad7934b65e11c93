"""A member of a Kafka consumer group that is told where its partitions begin."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import logging
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from monolith.native_training.data.kafka import topic_patterns
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.consumer_group import ConsumerGroup, place
from monolith.native_training.data.kafka.message_reader.message_reader import (
  MessageReader,
  ReadEvent,
  ReadMessages,
)
from monolith.native_training.data.kafka.stream_offsets import Offsets, Partition

_CONSUME = 10000  # Messages a call: each call has its price.
_CONSUME_SECS = 0.1  # Longest wait for so many.
_SAY_AGAIN_SECS = 60.0
_OTHER_LOG = (
  "the topic was made anew, or brokers have lost messages. Use another group_id to "
  "train on it from its beginning"
)


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
  and `ends`.

  Args:
    group: which to join.
    begins_at: says from which offset a partition is to be read; None is where the group
      has committed, or else as `auto.offset.reset` says.

  Attributes:
    has_joined: it has got partitions, or word that there are none for it.
    deleted_messages: how many the brokers had deleted before they were read, for a job;
      offsets without message are counted too.
  """

  def __init__(
    self,
    group: ConsumerGroup,
    begins_at: Callable[[Partition], int | None] = lambda partition: None,
  ):
    self._group = group
    self._begins_at = begins_at
    self._consumer: Consumer | None = None
    self._reader = MessageReader()
    self._is_of_job = False
    self._to_commit: dict[tuple[str, int], int] = {}
    self._commit_lock = threading.Lock()
    # Who has it may use the client, which is not closed meanwhile.
    self._client_lock = threading.Lock()
    # Up to where partitions were read when nothing was left to read.
    self._read_to: dict[tuple[str, int], int] = {}
    self._ended: dict[tuple[str, int], int] = {}  # The same, not noted yet.
    self._last_ends: dict[Partition, PartitionEnds] = {}  # When it left the group.
    # Up to where deleted messages are counted.
    self._deleted_to: dict[tuple[str, int], int] = {}
    self.deleted_messages = 0
    self.has_joined = False

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
    reset = {"auto.offset.reset": "error"} if is_of_job else {}
    settings = {"on_commit": self._on_commit, **reset}
    self._consumer = self._group.client(settings, self._reader)
    topics = [topic_patterns.subscription(topic) for topic in self._group.topics]
    self._consumer.subscribe(topics, on_assign=self._on_assign, on_lost=self._on_lost)

  @property
  def is_open(self) -> bool:
    return self._consumer is not None

  def close(self) -> None:
    """Leaves the group."""
    self._note_ends()
    self.has_joined = False
    with self._client_lock:
      consumer, self._consumer = self._consumer, None
      if consumer:
        self._last_ends = self._ends(consumer)
    if consumer:
      self._reader.detach()
      consumer.close()
    self._group.admin.close()

  def consume(self, piece: int = 1) -> ReadMessages:
    """The next messages, maybe none, after at most 0.1 s.

    Args:
      piece: how many the caller wants together; of as many as come at once, only whole
        pieces are taken.

    Raises:
      StreamFailed: the brokers refuse this consumer, or have lost what it was to read.
    """
    self._note_ends()
    most = _CONSUME - _CONSUME % piece or _CONSUME
    # What the client itself has to say; it calls back meanwhile.
    for message in self._consumer.consume(most, 0):
      place_ = message.topic(), message.partition(), message.offset()
      self._handle(ReadEvent(message.error(), *place_))
    messages, events = self._reader.read(most, _CONSUME_SECS)
    for event in events:
      self._handle(event)
    return messages

  def _handle(self, event: ReadEvent) -> None:
    code = event.error.code()
    if code == KafkaError._PARTITION_EOF:
      self._ended[event.topic, event.partition] = event.offset
    elif code == KafkaError._AUTO_OFFSET_RESET and self._is_of_job:
      self._read_what_is_left(event)
    else:
      self._group.errors.note(event.error)

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
    own = self._consumer.assignment()
    read_to = [self._read_to.get((p.topic, p.partition)) for p in own]
    if None in read_to:
      return False
    admin = self._group.admin
    try:
      bounds = admin.bounds(own)
      if not own:
        admin.partitions()
    except KafkaException as error:
      admin.note(error)
      return False
    return all(
      at >= bounds[p.topic, p.partition].end for p, at in zip(own, read_to, strict=True)
    )

  def unread_of_others(self, offsets: Offsets) -> Offsets | None:
    """How many messages there are of the partitions of its topics that are not this
    member's. One that has just left the group, or was killed, may not be missed yet.

    Args:
      offsets: up to where they are read; others are not read.

    Returns:
      For each partition that has any, offsets without message among them; None if the
      brokers do not answer.
    """
    own = {(p.topic, p.partition) for p in self._consumer.assignment()}
    admin = self._group.admin
    try:
      all_ = admin.partitions()
      bounds = admin.bounds(p for p in all_ if (p.topic, p.partition) not in own)
    except KafkaException as error:
      admin.note(error)
      return None
    unread = {}
    for key, (begin, end) in bounds.items():
      partition = Partition(self._group.name, *key)
      if end > (at := max(offsets.get(partition, 0), begin)):
        unread[partition] = end - at
    return unread

  def read_ends(self) -> Offsets:
    """Where those of this member's partitions end that it has read to their ends; none
    if it has left the group."""
    consumer = self._consumer
    own = [(p.topic, p.partition) for p in consumer.assignment()] if consumer else []
    return {
      Partition(self._group.name, *key): self._read_to[key]
      for key in own
      if key in self._read_to
    }

  def ends(self) -> dict[Partition, PartitionEnds]:
    """What there is of each of this member's partitions, as far as the brokers have
    told; of one that has left the group, what there was."""
    with self._client_lock:
      return self._ends(self._consumer) if self._consumer else self._last_ends

  def _ends(self, consumer: Consumer) -> dict[Partition, PartitionEnds]:
    ends = {}
    for p in consumer.assignment():
      begin, end = consumer.get_watermark_offsets(p, cached=True)
      if end >= 0:
        is_read = self._read_to.get((p.topic, p.partition), -1) >= end
        key = Partition(self._group.name, p.topic, p.partition)
        ends[key] = PartitionEnds(max(begin, 0), end, is_read)
    return ends

  def commit(self, offsets: Offsets) -> None:
    """Asks the brokers to commit offsets of this group, whosever partitions they are,
    and asks again in the next call while they have not done so."""
    with self._commit_lock:
      own = self._group.own(offsets)
      self._to_commit.update({(p.topic, p.partition): p.offset for p in own})
      waiting = [TopicPartition(*key, at) for key, at in self._to_commit.items()]
    with self._client_lock:
      if not waiting or not self._consumer:
        return
      try:
        self._consumer.commit(offsets=waiting, asynchronous=True)
      except KafkaException as error:
        self._on_commit(error.args[0], [])

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
        key = p.topic, p.partition
        if p.error is None and self._to_commit.get(key) == p.offset:
          del self._to_commit[key]

  def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    if consumer is not self._consumer:
      return  # It gets them while it leaves.
    self.has_joined = True
    for p in partitions:
      self._forget_end(p.topic, p.partition)
      offset = self._begins_at(Partition(self._group.name, p.topic, p.partition))
      if offset is not None:
        p.offset = offset
      self._reader.claim(p)
    self._pass_deleted([p for p in partitions if p.offset >= 0])
    if self._group.is_cooperative:
      consumer.incremental_assign(partitions)
    else:
      consumer.assign(partitions)

  def _read_what_is_left(self, event: ReadEvent) -> None:
    """Reads a partition on whose next message is not there: reading has stopped."""
    consumer = self._consumer
    p = TopicPartition(event.topic, event.partition)
    own = consumer.assignment()
    if p not in own:
      return  # It has gone to another member.
    if event.offset is None:
      raise StreamFailed(f"{place(p)}: {event.error.str()}: {_OTHER_LOG}")
    p.offset = event.offset
    self._pass_deleted([p])
    if self._group.is_cooperative:
      consumer.incremental_unassign([p])
      consumer.incremental_assign([p])
      return
    rest = [q for q in consumer.position(own) if q != p]
    for q in rest:
      if q.offset < 0:  # Nothing was read of it.
        q.offset = self._begins_at(Partition(self._group.name, q.topic, q.partition))
    consumer.assign([*rest, p])

  def _pass_deleted(self, partitions: Sequence[TopicPartition]) -> None:
    """Moves the offsets of partitions behind messages that brokers have deleted, unless
    they do not answer: whatever keeps them from that will be told."""
    try:
      bounds = self._group.admin.bounds(partitions)
    except KafkaException:
      return
    for p in partitions:
      self._pass_deleted_of(p, *bounds[p.topic, p.partition])

  def _pass_deleted_of(self, p: TopicPartition, first: int, end: int) -> None:
    if p.offset > end:
      raise StreamFailed(
        f"{place(p)} ends at offset {end}, but training was at {p.offset}: {_OTHER_LOG}"
      )
    if p.offset >= first:
      return
    begin, p.offset = p.offset, first
    begin = max(begin, self._deleted_to.get((p.topic, p.partition), 0))
    if begin >= first:
      return  # They are counted.
    self._deleted_to[p.topic, p.partition] = first
    self.deleted_messages += first - begin
    logging.error(
      "%s: %s messages, offsets %d to %d, were DELETED by the brokers before they were "
      "trained on; training goes on behind them. The topic keeps its messages for too "
      "short a time",
      place(p),
      f"{first - begin:,}",
      begin,
      first - 1,
    )

  def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
    del consumer, partitions
    self.has_joined = False  # It joins anew.
