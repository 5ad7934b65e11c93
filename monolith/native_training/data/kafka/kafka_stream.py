"""Messages of Kafka topics as arrays, read by a consumer of a group."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from absl import logging
from confluent_kafka import OFFSET_BEGINNING

from monolith.native_training.data.kafka import (
  process_streams,
  stream_messages,
  stream_offsets,
  stream_start,
  topic_patterns,
)
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.consumer_group import ConsumerGroup
from monolith.native_training.data.kafka.group_consumer import GroupConsumer
from monolith.native_training.data.kafka.stream_ledger import StreamLedger
from monolith.native_training.data.kafka.stream_messages import StreamMessages
from monolith.native_training.data.kafka.stream_offsets import Offsets, Partition
from monolith.native_training.data.kafka.topic_watch import TopicWatch

_MOST_MESSAGES = 2**31 - 1  # Of an element: more than fit in memory.
_NOTICE_SECS = 60.0
_ASK_AGAIN_SECS = 10.0  # Brokers that did not say which topics there are.
# A job's iteration ends when its worker has got no batch for so long.
_IDLE_SECS = 1.0


class KafkaStream:
  """Reads topics, from where the group has committed, or as a job says.

  Of itself every iteration joins the group, reads until no message has come for
  `stream_timeout`, and leaves; where another one begins before, it ends with an error.
  A job has it stay in the group between iterations, which then end as well when the
  worker gets nothing to train on for a second, so that it can look after other things,
  or when another one takes over; `is_over` says why one ended.

  Args: see `datasets.create_plain_kafka_dataset`.

  Attributes:
    holds_rest: says whether this worker's dataset holds messages back that are not
      passed at the end of a round, of this stream or of those that it reads beside it.
    is_over: no message has come for `stream_timeout`, and none is left: of this
      reader's partitions, and for a job of those of all workers.

  Raises:
    ValueError: an argument is not as described there.
  """

  def __init__(
    self,
    topics: Sequence[str],
    group_id: str,
    servers: str,
    stream_timeout: int = -1,
    message_poll_timeout: int = 10000,
    poll_batch_size: int = 1024,
    configuration: Sequence[str] | None = None,
  ):
    is_list = isinstance(topics, Iterable) and not isinstance(topics, str)
    self._topics = list(topics) if is_list else [topics]
    if not self._topics or not all(isinstance(t, str) and t for t in self._topics):
      raise ValueError(f"topics: got {topics!r}, wanted names of topics, at least one")
    for topic in self._topics:
      topic_patterns.check(topic)
      if self._topics.count(topic) > 1:
        raise ValueError(f"topics: {topic!r} is named twice")
    for name, value in (("group_id", group_id), ("servers", servers)):
      if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(
          f"{name}: got {value!r}, wanted a string that is not empty, without NUL"
        )
    for name, value, least, most in (
      ("stream_timeout", stream_timeout, -1, math.inf),
      ("message_poll_timeout", message_poll_timeout, 1, math.inf),
      ("poll_batch_size", poll_batch_size, 1, _MOST_MESSAGES),
    ):
      is_int = isinstance(value, int) and not isinstance(value, bool)
      if not is_int or not least <= value <= most:
        bounds = f"from {least} {'on' if most == math.inf else f'to {most}'}"
        raise ValueError(f"{name}: got {value!r}, wanted a whole number {bounds}")
    self._timeout_secs = stream_timeout / 1000 if stream_timeout >= 0 else None
    self._notice_secs = message_poll_timeout / 1000
    self._poll_batch_size = poll_batch_size
    self._group = ConsumerGroup(self._topics, group_id, servers, configuration)
    self._servers = servers
    self._ledger = StreamLedger(group_id)
    self._known: Offsets = {}
    # Partitions of theirs have come to a job that has not asked yet which they are.
    self._new_topics: set[str] = set()
    self._ask_at = 0.0
    self._watch = TopicWatch(self._group, self._marks_known)
    self._consumer = GroupConsumer(self._group, self._begins_at)
    # Of the consumer, and of who reads with it. A thread that has it may find that an
    # iteration is garbage, which ends that.
    self._lock = threading.RLock()
    self._iteration = 0
    self._round: threading.Event | None = None
    self._heard: float | None = None  # When the last message came.
    self._quiet_since = time.monotonic()  # No message has come.
    self.holds_rest: Callable[[], bool] = lambda: False
    self._known_ones = 0  # Messages of the iteration that were read before.
    self._told_at = -_NOTICE_SECS  # That none comes.
    self.is_over = False
    # The last one that came to an end because its streams had nothing, and the last one
    # of which whoever reads this stream has got all.
    self._ended_round: threading.Event | None = None
    self._drained_round: threading.Event | None = None
    self._check_is_another()
    process_streams.add(self)

  def _check_is_another(self) -> None:
    for other in process_streams.of_job():
      if other.group == self.group and other._servers != self._servers:
        raise ValueError(
          f"group_id: {self.group!r} is the group of a stream from {other._servers} "
          f"already, and of one from {self._servers} now; checkpoints keep offsets by "
          "group, topic and partition: name another group, or the same servers"
        )

  def batches(self) -> Iterator[StreamMessages]:
    """Yields NumPy arrays of the messages that came together, in the order of each
    partition. `topic` has one row where it is the same for all. There is at least one
    message for a job; others get empty arrays while none comes: TensorFlow notices
    between elements only that nobody wants more.

    Raises:
      StreamFailed: the brokers refuse this consumer, or another iteration has begun.
    """
    with self._lock:
      self._iteration += 1
      own = self._iteration
      round_ = self._round
      if not round_:
        self._consumer.close()  # Of an iteration that has not ended.
        self._heard = None
        self._quiet_since = time.monotonic()
        self._ledger.begin({})
      self._ended_round = None
      self._consumer.open(is_of_job=bool(round_))
      self._known_ones = 0
      if round_:
        self._read_open_again()
    waited, offsets = 0.0, self._ledger.offsets()
    try:
      while not self._is_silent():
        begin = time.monotonic()
        with self._lock:
          if own != self._iteration:
            break
          arrays = self._next_arrays()
          if arrays and not round_:
            self._ledger.take(arrays.position)  # No one else will.
          if not arrays and round_:
            self._ledger.pass_ends(self._consumer.read_ends())
        now = time.monotonic()
        if arrays:
          self._known_ones -= len(arrays.position)
          if self._known_ones < 0:
            self._heard = self._quiet_since = now
          yield arrays
        elif now - self._quiet_since >= self._notice_secs:
          self._notice(now)
        if not arrays and not round_:
          yield stream_messages.NONE
        if round_:
          before, offsets = offsets, self._ledger.offsets()
          # What is read again is no wait, lest the round end before what comes behind.
          is_known = bool(arrays) and self._known_ones >= 0
          is_wait = offsets == before and not is_known
          waited = waited + (now - begin) if is_wait else 0.0
          if waited >= _IDLE_SECS or round_.is_set():
            break
      with self._lock:
        is_newest = own == self._iteration
        if is_newest:
          self._ended_round = round_
      if not is_newest and not round_:
        raise StreamFailed(
          f"another iteration of the dataset of {self._group} has begun, which ends "
          "this one; make a dataset for each"
        )
    finally:
      if round_:
        round_.set()
      else:
        with self._lock:
          if own == self._iteration:
            self._consumer.close()

  def drained(self) -> Iterator[StreamMessages]:
    """Yields nothing: who asks for it has got all of the batches before."""
    self._drained_round = self._ended_round
    yield from ()

  def _read_open_again(self) -> None:
    """Goes back to what a round left open: the dataset of several streams may end with
    one of them, before the others are drained, and an iteration may be taken over."""
    self._known_ones = self._ledger.open_count()
    self._consumer.seek(self._ledger.drop_open())

  def _is_silent(self) -> bool:
    """Whether no message has come for the timeout, and none could be read."""
    if self._heard is None and self._consumer.has_joined:
      self._heard = time.monotonic()
    if self._timeout_secs is None or self._heard is None:
      return False
    if time.monotonic() - self._heard < self._timeout_secs:
      return False
    with self._lock:
      self.is_over = self._consumer.is_at_end() and (
        self._round is None
        # It is for those to read who stay. What it lacks for that others may have, who
        # wait for this worker in their turn.
        or ((self.holds_rest() or self._are_others_at_end()) and self._watch.are_same())
      )
    if not self.is_over:
      self._heard = time.monotonic()
    return self.is_over

  def _are_others_at_end(self) -> bool:
    """Whether a job has trained on all messages of the partitions that other workers
    have. Those of one that was killed come to the others when the group misses it."""
    trained = stream_offsets.merge([self._ledger.offsets(), self._known])
    unread = self._consumer.unread_of_others(trained)
    if unread:
      logging.log_every_n_seconds(
        logging.INFO,
        "not over yet: other workers are still to train on %s",
        _NOTICE_SECS,
        ", ".join(
          f"{count:,} of {p.topic} {p.partition}" for p, count in unread.items()
        ),
      )
    return unread == {}

  def _notice(self, now: float) -> None:
    if now - self._told_at >= _NOTICE_SECS:
      self._told_at = now
      secs = now - self._quiet_since
      logging.warning("no message of %s for %.0f s", ", ".join(self._topics), secs)

  def _begins_at(self, partition: Partition) -> int | None:
    if self._round:
      self._new_topics.add(partition.topic)
    own = self._ledger.offsets().get(partition)
    known = self._known.get(partition)
    # One that a job does not know of has appeared since it began.
    unknown = OFFSET_BEGINNING if self._round else None
    return max((o for o in (own, known) if o is not None), default=unknown)

  def _next_arrays(self) -> StreamMessages | None:
    messages = self._consumer.consume(self._poll_batch_size)
    if self._new_topics and time.monotonic() >= self._ask_at:
      self._mark_new_topics()
    if self._round:
      self._watch.look()
    if not len(messages.offset):
      return None
    return stream_messages.of(messages, self._ledger)

  def _mark_new_topics(self) -> None:
    """Notes which topics those are that have come, so that checkpoints say it: before
    anyone trains on their messages, if brokers answer."""
    made = self._group.topics_made()
    if made is None:
      self._ask_at = time.monotonic() + _ASK_AGAIN_SECS
      return
    made = {mark: n for mark, n in made.items() if mark.topic in self._new_topics}
    stream_start.check_same(made, self._marks_known())
    self._ledger.mark(made)
    self._new_topics = set()

  def _marks_known(self) -> Offsets:
    return {**self._known, **self._ledger.offsets()}

  # For the job that trains on it.

  def check_workers(self, count: int) -> None:
    """See `ConsumerGroup.check_members`."""
    self._group.check_members(count)

  def first_offsets(self, offsets: Offsets, check: Callable[[], object]) -> Offsets:
    """See `stream_start.first_offsets`."""
    return stream_start.first_offsets(self._group, offsets, check)

  def begin(self, offsets: Offsets) -> None:
    """Has the next iteration begin where a job's training is."""
    with self._lock:
      self._iteration += 1  # Ends one that is under way.
      self._consumer.close()
      self._ledger.begin(offsets)
      self._known = dict(offsets)
      self._new_topics = set()
    self._heard = None
    self._quiet_since = time.monotonic()
    self.is_over = False

  def begin_round(self, ended: threading.Event) -> None:
    """Has the next iteration be a job's: it sets an event when it ends, and ends when
    that of another stream of the job has."""
    self._round = ended
    self.is_over = False

  def know(self, offsets: Offsets) -> None:
    """Tells how far all workers have trained by now: partitions that come to this one
    begin there, and while others train the stream is not over."""
    before = stream_offsets.merge([self._known, self._ledger.offsets()])
    self._known = dict(offsets)
    # What is further than this worker knew is what others have trained on.
    is_moved = any(
      offset > before.get(partition, 0)
      for partition, offset in offsets.items()
      if partition.is_real and self._is_read(partition)
    )
    if is_moved and self._heard is not None:
      self._heard = time.monotonic()

  def _is_read(self, partition: Partition) -> bool:
    """Whether it is of this stream, and not of another one of the job."""
    return partition.group == self.group and topic_patterns.is_meant_by_any(
      partition.topic, self._topics
    )

  @property
  def is_drained(self) -> bool:
    """Whether the round has ended because the stream had nothing more, and whoever
    reads it has got all; behind a dataset that reads ahead that is not yet training."""
    return self._round is not None and self._drained_round is self._round

  @property
  def rest(self) -> int:
    """How many messages were read that nobody has trained on."""
    return self._ledger.open_count()

  def pass_rest(self) -> int:
    """Notes, where all of a round has come to the end of the dataset, that what is not
    trained on was left out by `input_fn`; returns how many messages."""
    left = self.rest
    self._ledger.pass_rest()
    return left

  def pass_ends(self) -> None:
    """Notes where partitions end, when the dataset of a round is at its end."""
    with self._lock:
      self._ledger.pass_ends(self._consumer.read_ends())

  @property
  def group(self) -> str:
    """The consumer group."""
    return self._group.name

  def trained(self) -> Offsets:
    """Up to where all that was emitted went on to be trained on, or was bad; where all
    is read, that is where the partition ends, behind offsets without message."""
    return self._ledger.offsets()

  @property
  def bad_messages(self) -> int:
    """How many messages could not be parsed, each counted once by each worker that has
    read it."""
    return self._ledger.left_out

  @property
  def deleted_messages(self) -> int:
    """See `GroupConsumer`."""
    return self._consumer.deleted_messages

  def lags(self) -> dict[Partition, int]:
    """How many messages of each of this worker's partitions are still to come. Where
    not all is read, offsets without message count too, as of transactions."""
    ends = self._consumer.ends()
    # Asked for later than the ends: of what was read until then it misses nothing.
    is_any_read = any(e.is_read for e in ends.values())
    open_ = self._ledger.open_partitions() if is_any_read else set()
    trained = stream_offsets.merge([self._ledger.offsets(), self._known])
    lags = {}
    for partition, (begin, end, is_read) in ends.items():
      is_done = is_read and partition not in open_
      at = end if is_done else max(trained.get(partition, begin), begin)
      lags[partition] = max(end - at, 0)
    return lags

  def commit(self, offsets: Offsets) -> None:
    """See `GroupConsumer.commit`."""
    self._consumer.commit(offsets)

  def interrupt(self) -> bool:
    """Ends an iteration where it is; returns whether this is in the group."""
    with self._lock:
      self._iteration += 1
      return self._consumer.is_open

  def close(self) -> None:
    """Leaves the group."""
    with self._lock:
      self._iteration += 1
      self._consumer.close()

  def commit_last(
    self, offsets: Offsets, deadline: float, answer_by: float = math.inf
  ) -> None:
    """See `ConsumerGroup.commit_last`."""
    self._group.commit_last(offsets, deadline, answer_by)
