"""Which messages of a stream still have to be trained on.

A stream gives every message that it emits a position, unique in this process and
rising. Whoever takes a message says so by its position, and the ledger knows from which
offset on each partition is open. So offsets need not go along with every example.
"""

import collections
import itertools
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from monolith.native_training.data.kafka import stream_offsets
from monolith.native_training.data.kafka.stream_offsets import Offsets, Partition

# A position is the number of its ledger above so many bits, and a count below.
_COUNT_BITS = 44
# A place is the index of a topic above so many bits, and a partition below.
_PARTITION_BITS = 32


class StreamLedger:
  """The messages that one stream has emitted. Thread-safe.

  Args:
    group: the consumer group that reads.

  Attributes:
    left_out: how many messages were bad, each counted once, also where it is read
      again.
  """

  def __init__(self, group: str):
    self._group = group
    self._lock = threading.Lock()
    self._emitted = next(_numbers) << _COUNT_BITS  # The next position.
    self._taken = self._floor = self._emitted
    self._chunks: collections.deque[_Chunk] = collections.deque()
    self._bad: set[int] = set()
    self._offsets: Offsets = {}
    self.left_out = 0
    # Bad messages before these offsets are counted, and behind them
    self._counted_to: Offsets = {}
    self._counted: set[tuple[Partition, int]] = set()  # these ones.
    _ledgers[self._emitted >> _COUNT_BITS] = self

  def emit(
    self,
    topics: Sequence[str],
    topic_index: np.ndarray,
    partition: np.ndarray,
    offset: np.ndarray,
  ) -> np.ndarray:
    """Notes messages, in the order in which each partition has them.

    Args:
      topics: each once.
      topic_index: int32 `[n]`, which of them.
      partition: int32 `[n]`.
      offset: int64 `[n]`.

    Returns:
      Their positions, int64 `[n]`.
    """
    with self._lock:
      begin = self._emitted
      self._emitted += len(offset)
      place = topic_index.astype(np.int64) << _PARTITION_BITS | partition
      self._chunks.append(_Chunk(begin, topics, place, offset))
      return np.arange(begin, self._emitted, dtype=np.int64)

  def take(self, positions: np.ndarray) -> Offsets | None:
    """Notes that messages are trained on; what was emitted before them and is not taken
    yet was left out on purpose.

    Args:
      positions: int64 `[n]`, at least one.

    Returns:
      How far the stream is trained on then; None if the messages were emitted before
      the stream began anew.

    Raises:
      ValueError: positions are not in the order in which they were emitted.
    """
    with self._lock:
      if positions[0] < self._floor:
        return None
      if positions[0] < self._taken or np.any(np.diff(positions) <= 0):
        raise ValueError(
          "messages of a stream came in another order than they were read in, or "
          "twice, so that it cannot be said which of them are trained on: input_fn "
          "must not shuffle, repeat or interleave them but with cycle_length=1"
        )
      self._advance(int(positions[-1]) + 1)
      return dict(self._offsets)

  def leave_out(self, positions: np.ndarray) -> None:
    """Notes messages that will not be trained on because they are bad."""
    with self._lock:
      self._count_bad(positions)
      self._bad.update(int(p) for p in positions if p >= self._taken)
      self._advance(self._taken)

  def is_counted(self, position: int) -> bool:
    """Whether a message was left out as bad before, when it was read the first time."""
    with self._lock:
      counted_to = stream_offsets.merge([self._counted_to, self._offsets])
      return any(
        offset < counted_to.get(partition, 0) or (partition, offset) in self._counted
        for chunk in self._chunks
        for partition, offset in chunk.places(np.array([position]), self._group)
      )

  def pass_rest(self) -> None:
    """Notes all messages as left out that are not taken."""
    with self._lock:
      self._advance(self._emitted)

  def pass_ends(self, ends: Offsets) -> None:
    """Notes where partitions end that are read to their end: behind the last message
    there may be offsets without any, as of transactions. Nothing is noted of those that
    have messages that nobody has taken."""
    with self._lock:
      further = {p: o for p, o in ends.items() if o > self._offsets.get(p, 0)}
      if further:
        open_ = self._open_partitions()
        self._offsets.update({p: o for p, o in further.items() if p not in open_})

  def mark(self, marks: Offsets) -> None:
    """Adds marks that are in place of offsets, see `stream_offsets`."""
    with self._lock:
      self._offsets.update(marks)

  def offsets(self) -> Offsets:
    """How far the stream is read, for all partitions that it knows of."""
    with self._lock:
      return dict(self._offsets)

  def open_partitions(self) -> set[Partition]:
    """Those that have messages that nobody has taken."""
    with self._lock:
      return self._open_partitions()

  def open_count(self) -> int:
    """How many messages nobody has taken."""
    with self._lock:
      return sum(len(chunk) for chunk in self._chunks)

  def begin(self, offsets: Mapping[Partition, int]) -> None:
    """Forgets all messages, because training is at other offsets."""
    with self._lock:
      self._counted_to = stream_offsets.merge([self._counted_to, self._offsets])
      self._drop()
      self._offsets = {p: o for p, o in offsets.items() if p.group == self._group}

  def drop_open(self) -> Offsets:
    """Forgets the messages that nobody has taken.

    Returns:
      Where each partition that has such messages has to be read from again.
    """
    with self._lock:
      first: Offsets = {}
      for chunk in self._chunks:
        for partition, offset in chunk.first_offsets(self._group).items():
          first[partition] = min(offset, first.get(partition, offset))
      self._drop()
      return first

  def _count_bad(self, positions: np.ndarray) -> None:
    counted_to = stream_offsets.merge([self._counted_to, self._offsets])
    bad = {
      (partition, offset)
      for chunk in self._chunks
      for partition, offset in chunk.places(positions, self._group)
      if offset >= counted_to.get(partition, 0)
    }
    self.left_out += len(bad - self._counted)
    self._counted = {
      (partition, offset)
      for partition, offset in bad | self._counted
      if offset >= counted_to.get(partition, 0)
    }

  def _open_partitions(self) -> set[Partition]:
    return {p for chunk in self._chunks for p in chunk.first_offsets(self._group)}

  def _drop(self) -> None:
    self._chunks.clear()
    self._bad.clear()
    self._taken = self._floor = self._emitted

  def _advance(self, taken: int) -> None:
    while taken in self._bad:
      taken += 1
    if self._bad:
      self._bad = {p for p in self._bad if p > taken}
    self._taken = taken
    while self._chunks and self._chunks[0].begin < taken:
      is_done = self._chunks[0].take_until(taken, self._group, self._offsets)
      if not is_done:
        break
      self._chunks.popleft()


class _Chunk:
  """Messages with positions from `begin` on; forgets those that are taken."""

  def __init__(
    self, begin: int, topics: Sequence[str], place: np.ndarray, offset: np.ndarray
  ):
    self.begin = begin
    self._topics = topics
    self._place = place
    self._offset = offset

  def __len__(self) -> int:
    return len(self._offset)

  def take_until(self, position: int, group: str, offsets: Offsets) -> bool:
    """Moves offsets behind the messages before a position; whether none is left."""
    count = min(position - self.begin, len(self._offset))
    for partition, offset in self._last_offsets(count, group).items():
      offsets[partition] = max(offset + 1, offsets.get(partition, 0))
    self.begin += count
    self._place, self._offset = self._place[count:], self._offset[count:]
    return not len(self._offset)

  def places(
    self, positions: np.ndarray, group: str
  ) -> Iterator[tuple[Partition, int]]:
    """Partition and offset of those messages that are of this chunk."""
    indexes = positions - self.begin
    for i in indexes[(indexes >= 0) & (indexes < len(self._offset))]:
      yield self._partition(self._place[i], group), int(self._offset[i])

  def first_offsets(self, group: str) -> Offsets:
    """The offset of the first message of each partition."""
    places, at = np.unique(self._place, return_index=True)
    return self._by_partition(places, self._offset[at], group)

  def _last_offsets(self, count: int, group: str) -> Offsets:
    """The offset of the last message of each partition, of the first `count`."""
    places, at = np.unique(self._place[:count][::-1], return_index=True)
    return self._by_partition(places, self._offset[:count][::-1][at], group)

  def _by_partition(self, places, offsets, group: str) -> Offsets:
    return {
      self._partition(place, group): int(offset)
      for place, offset in zip(places, offsets, strict=True)
    }

  def _partition(self, place: np.int64, group: str) -> Partition:
    topic, partition = divmod(int(place), 1 << _PARTITION_BITS)
    return Partition(group, self._topics[topic], partition)


def take(positions: np.ndarray) -> Offsets | None:
  """`StreamLedger.take` for a batch that may have messages of several streams."""
  parts = [ledger.take(own) for ledger, own in _by_ledger(positions)]
  if not parts or any(part is None for part in parts):
    return None
  return stream_offsets.merge(parts)


def leave_out(positions: np.ndarray) -> None:
  """`StreamLedger.leave_out` for messages of several streams."""
  for ledger, own in _by_ledger(positions):
    ledger.leave_out(own)


def are_counted(positions: np.ndarray) -> list[bool]:
  """`StreamLedger.is_counted` of each of messages of several streams."""
  ledgers = [_ledgers.get(int(p) >> _COUNT_BITS) for p in positions]
  return [
    ledger is not None and ledger.is_counted(int(position))
    for ledger, position in zip(ledgers, positions, strict=True)
  ]


def _by_ledger(positions: np.ndarray) -> list[tuple[StreamLedger, np.ndarray]]:
  numbers = positions >> _COUNT_BITS
  return [
    (ledger, positions[numbers == number])
    for number in np.unique(numbers)
    if (ledger := _ledgers.get(int(number))) is not None
  ]


# From 1 on, so that no position that somebody has made up is found by chance.
_numbers = itertools.count(1)
_ledgers: "weakref.WeakValueDictionary[int, StreamLedger]" = (
  weakref.WeakValueDictionary()
)
