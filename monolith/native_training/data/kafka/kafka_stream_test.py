"""What a stream notes of its messages when several things go on at once."""

import gc
import socket
import threading
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from confluent_kafka import KafkaError, KafkaException

from monolith.native_training.data.datasets import create_plain_kafka_dataset
from monolith.native_training.data.kafka import (
  kafka_stream,
  process_streams,
  stream_ledger,
  topic_watch,
)
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.group_consumer import PartitionEnds
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.message_reader.message_reader import (
  ReadMessages,
)
from monolith.native_training.data.kafka.stream_offsets import MADE, Offsets, Partition

_AWAY = KafkaException(KafkaError(KafkaError._TIMED_OUT))
_GONE = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))


def _messages(begin: int, end: int) -> ReadMessages:
  """Those of partition 0 from one offset to another one."""
  offset = np.arange(begin, end)
  value_end = 7 * np.arange(1, len(offset) + 1)
  return ReadMessages(
    values=np.frombuffer(b"message" * len(offset), np.uint8),
    begin=value_end - 7,
    end=value_end,
    topics=["t"],
    topic_index=np.zeros_like(offset, np.int32),
    partition=np.zeros_like(offset, np.int32),
    offset=offset,
    timestamp=np.full_like(offset, 1000),
  )


class _Consumer:
  """Gives six messages from where it is told to begin, time after time."""

  has_joined = True

  def __init__(self):
    self.at = 0
    self.is_open = False
    self.is_read = False
    self.is_silent = False  # After the first messages.
    self.meanwhile = lambda: None
    self.sought: list[Offsets] = []

  def open(self, is_of_job):
    del is_of_job
    self.is_open = True

  def close(self):
    self.is_open = False

  def seek(self, offsets: Offsets):
    self.sought.append(offsets)
    self.at = next(iter(offsets.values()), self.at)

  def read_ends(self):
    return {}

  def ends(self):
    return {Partition("g", "t", 0): PartitionEnds(0, self.at + 1, self.is_read)}

  def consume(self, piece: int):
    assert self.is_open
    self.meanwhile()
    if self.is_silent and self.at:
      time.sleep(0.01)
      return _messages(0, 0)
    self.at += 6
    return _messages(self.at - 6, self.at)


class _Clock:
  """Stands in for `time`; goes on only while somebody sleeps."""

  def __init__(self):
    self._now = 1000.0

  def monotonic(self) -> float:
    return self._now

  def sleep(self, secs: float) -> None:
    self._now += secs


def _at(offset: int) -> Offsets:
  return {Partition("g", "t", 0): offset}


class KafkaStreamTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    # Nobody listens there, and nobody needs to.
    self.stream = KafkaStream("t", "g", "127.0.0.1:1")
    self.consumer = self.stream._consumer = _Consumer()
    self.stream.begin(_at(100))
    self.stream.begin_round(threading.Event())
    self.consumer.at = 100

  def test_what_comes_of_an_earlier_session_is_not_noted(self):
    old = self.stream.batches()
    stream_ledger.take(next(old).position[:2])
    self.assertEqual(self.stream.trained(), _at(102))
    # Training goes back.
    self.stream.begin(_at(40))
    for late in old:
      self.assertIsNone(stream_ledger.take(late.position))
    self.assertEqual(self.stream.trained(), _at(40))

  def test_messages_read_just_before_training_goes_back_are_not_noted(self):
    old = self.stream.batches()
    self.stream.begin_round(threading.Event())
    back = threading.Thread(target=self.stream.begin, args=[_at(40)])
    # It waits for the consumer, which is reading.
    self.consumer.meanwhile = back.start
    first = next(old)
    back.join()
    self.assertIsNone(stream_ledger.take(first.position))
    for late in old:
      self.assertIsNone(stream_ledger.take(late.position))
    self.assertEqual(self.stream.trained(), _at(40))

  def test_another_iteration_reads_what_nobody_took(self):
    first = self.stream.batches()
    stream_ledger.take(next(first).position[:2])
    second = self.stream.batches()
    batch = next(second)
    self.assertEqual(self.consumer.sought[-1], _at(102))
    self.assertEqual(batch.offset.tolist(), list(range(102, 108)))
    self.assertEqual(list(first), [])

  def test_without_a_job_nothing_is_kept_of_what_was_read(self):
    stream = KafkaStream("t", "g", "127.0.0.1:1")
    consumer = stream._consumer = _Consumer()
    messages = stream.batches()
    for _ in range(3):
      next(messages)
    # A partition that is taken away and comes back is read on.
    self.assertEqual(stream._begins_at(Partition("g", "t", 0)), 18)
    self.assertEqual(stream._ledger.drop_open(), {})
    # Another iteration begins where the group has committed.
    next(stream.batches())
    self.assertEmpty(consumer.sought)
    self.assertEqual(stream._begins_at(Partition("g", "t", 0)), 24)

  def test_without_a_job_another_iteration_ends_the_older_one(self):
    stream = KafkaStream("t", "g", "127.0.0.1:1")
    consumer = stream._consumer = _Consumer()
    older, newer = stream.batches(), stream.batches()
    next(older)
    next(newer)
    with self.assertRaisesRegex(StreamFailed, "another iteration .* has begun"):
      next(older)
    next(newer)
    del older
    newest = stream.batches()
    next(newest)
    newer.close()  # As garbage is.
    next(newest)
    newest.close()
    self.assertFalse(consumer.is_open)

  def test_leaving_a_loop_does_not_wait_for_the_next_message(self):
    def take(dataset: tf.data.Dataset) -> None:
      self.assertLen(list(dataset.take(1)), 1)

    def leave(dataset: tf.data.Dataset) -> None:
      for messages in dataset:
        self.assertEqual(messages.message.numpy().tolist(), [b"message"] * 6)
        break
      del messages
      gc.collect()

    for read in (take, leave):
      with process_streams.collected() as streams:
        dataset = create_plain_kafka_dataset(["t"], "g", "127.0.0.1:1")
      consumer = streams[0]._consumer = _Consumer()
      consumer.is_silent = True
      thread = threading.Thread(target=read, args=[dataset])
      thread.start()
      thread.join(30)
      is_over = not thread.is_alive()
      consumer.is_silent = False  # Lets it go.
      thread.join()
      self.assertTrue(is_over)
      self.assertFalse(consumer.is_open)

  def test_it_is_drained_only_where_it_ended_the_round(self):
    ended = threading.Event()
    self.stream.begin_round(ended)
    batches = self.stream.batches()
    next(batches)
    self.assertFalse(self.stream.is_drained)
    self.assertEqual(self.stream.trained(), _at(100))
    ended.set()
    self.assertEqual(list(batches), [])
    # What comes behind it may still have some of it.
    self.assertFalse(self.stream.is_drained)
    self.assertEqual(list(self.stream.drained()), [])
    self.assertTrue(self.stream.is_drained)
    self.assertEqual(self.stream.pass_rest(), 6)
    self.assertEqual(self.stream.trained(), _at(106))
    # What a late iteration of that round does counts no more.
    self.stream.begin_round(threading.Event())
    self.assertFalse(self.stream.is_drained)

  def test_an_iteration_that_another_has_taken_over_from_does_not_end_the_round(self):
    older, newer = self.stream.batches(), self.stream.batches()
    next(older)
    next(newer)
    self.assertEqual(list(older), [])
    self.assertFalse(self.stream.is_drained)
    self.assertEqual(self.stream.trained(), _at(100))

  def test_what_was_not_taken_when_another_stream_ended_the_round_is_read_again(self):
    ended = threading.Event()
    self.stream.begin_round(ended)
    batches = self.stream.batches()
    stream_ledger.take(next(batches).position[:2])
    ended.set()
    batches.close()  # The dataset is at its end.
    self.assertFalse(self.stream.is_drained)
    self.stream.begin_round(threading.Event())
    again = next(self.stream.batches())
    self.assertEqual(again.offset[0], 102)

  def test_a_stream_that_waits_for_another_loses_nothing(self):
    """One of two that are read together has messages, the other has none."""
    with process_streams.collected() as streams:
      full, empty = (
        create_plain_kafka_dataset(["t"], group, "127.0.0.1:1", poll_batch_size=2)
        for group in ("g", "h")
      )
    consumers = [_Consumer(), _Consumer()]
    consumers[1].consume = lambda piece: _messages(0, 0)
    ended = threading.Event()
    for stream, consumer in zip(streams, consumers, strict=True):
      stream._consumer = consumer
      stream.begin({})
      stream.begin_round(ended)
    with mock.patch.object(kafka_stream, "_IDLE_SECS", 0.1):
      self.assertEmpty(list(tf.data.Dataset.zip((full, empty))))
    self.assertEqual([s.is_drained for s in streams], [False, True])
    self.assertEqual(streams[0].trained(), {})
    # The next round reads it again.
    streams[0].begin_round(threading.Event())
    again = next(streams[0].batches())
    self.assertEqual(again.offset[0], 0)

  def test_who_holds_a_rest_back_does_not_wait_for_others(self):
    """Two workers that do would wait for each other's rest."""
    stream = KafkaStream("t", "g", "127.0.0.1:1", stream_timeout=0)
    consumer = stream._consumer = _Consumer()
    consumer.consume = lambda piece: _messages(0, 0)
    consumer.is_at_end = lambda: True
    consumer.unread_of_others = lambda trained: {Partition("g", "t", 1): 5}
    for is_held in (True, False):
      stream.holds_rest = lambda is_held=is_held: is_held
      stream.begin({})
      stream.begin_round(threading.Event())
      with mock.patch.object(kafka_stream, "_IDLE_SECS", 0.1):
        self.assertEmpty(list(stream.batches()))
      self.assertEqual(stream.is_over, is_held)

  def test_only_what_others_train_on_puts_off_its_end(self):
    self.assertTrue(self._is_over_while_trained_on(Partition("g", "t", 0)))
    self.assertFalse(self._is_over_while_trained_on(Partition("g", "t", 1)))
    # Of another stream of the job.
    self.assertTrue(self._is_over_while_trained_on(Partition("g", "u", 1)))

  def _is_over_while_trained_on(self, partition: Partition) -> bool:
    """Whether silence ends a stream that trains on partition 0 of what it has read, a
    message at a time, while somebody trains on a partition as far."""
    clock = self.enter_context(mock.patch.object(kafka_stream, "time", _Clock()))
    stream = KafkaStream("t", "g", "127.0.0.1:1", stream_timeout=500)
    consumer = stream._consumer = _Consumer()
    consumer.is_at_end = lambda: True
    consumer.unread_of_others = lambda trained: {}
    stream.begin({})
    ended = threading.Event()
    stream.begin_round(ended)
    batches = [_messages(0, 12)]

    def consume(piece):
      if batches:
        return batches.pop()
      clock.sleep(0.1)
      stream_ledger.take(positions.pop(0))
      stream.know({**stream.trained(), partition: 12 - len(positions)})
      if not positions:
        ended.set()
      return _messages(0, 0)

    consumer.consume = consume
    rounds = stream.batches()
    positions = np.split(next(rounds).position, 12)
    self.assertEmpty(list(rounds))
    return stream.is_over

  def test_a_topic_that_is_made_anew_in_mid_job_ends_it(self):
    mark = Partition("g", "t", MADE)
    answers = [None, {mark: 7}, {mark: 7}, {mark: 8}]
    self.stream._group.topics_made = lambda: answers.pop(0)
    batches = self.stream.batches()
    with mock.patch.object(kafka_stream, "_ASK_AGAIN_SECS", 0.0):
      for marked in ({}, {mark: 7}):  # Brokers that do not answer are asked again.
        self.stream._begins_at(Partition("g", "t", 0))
        next(batches)
        self.assertEqual(self.stream.trained(), {**_at(100), **marked})
      self.assertLen(answers, 2)
      next(batches)
      self.assertLen(answers, 2)  # Nothing has come that is not known.
      self.stream._begins_at(Partition("g", "t", 1))
      next(batches)
      self.stream._begins_at(Partition("g", "t", 0))
      with self.assertRaisesRegex(StreamFailed, "t was deleted and made anew"):
        next(batches)

  def test_a_topic_that_is_made_anew_while_it_is_read_ends_the_job(self):
    self.stream.begin({**_at(100), Partition("g", "t", MADE): 7})
    ids = mock.Mock()
    self.stream._group.admin = mock.Mock(ask_ids=lambda topics: ids)
    batches = self.stream.batches()
    with mock.patch.object(topic_watch, "_ASK_AGAIN_SECS", 0.0):
      # Reading does not wait for brokers that have not answered.
      ids.are_there = lambda: False
      ids.answers.side_effect = AssertionError
      for _ in range(3):
        next(batches)
      ids.are_there = lambda: True
      answers = [({"t": 7}, []), ({}, [_AWAY]), ({}, []), ({}, [_GONE]), ({"t": 8}, [])]
      ids.answers.side_effect = answers
      for _ in answers[:-1]:
        next(batches)
      with self.assertRaisesRegex(StreamFailed, "t was deleted and made anew"):
        next(batches)

  def test_a_job_is_over_only_where_its_topics_are_those_it_has_read(self):
    stream = KafkaStream("t", "g", "127.0.0.1:1", stream_timeout=0)
    consumer = stream._consumer = _Consumer()
    consumer.consume = lambda piece: _messages(0, 0)
    consumer.is_at_end = lambda: True
    consumer.unread_of_others = lambda trained: {}
    ids = mock.Mock(are_there=lambda: False)
    stream._group.admin = mock.Mock(ask_ids=lambda topics: ids)
    stream.begin({Partition("g", "t", MADE): 7})
    for answer in (({"t": 7}, []), ({}, [_GONE])):
      stream.begin_round(threading.Event())
      ids.answers.side_effect = [({}, [_AWAY]), answer]
      self.assertEmpty(list(stream.batches()))
      self.assertTrue(stream.is_over)
    ids.answers.side_effect = [({"t": 8}, [_GONE])]
    with self.assertRaisesRegex(StreamFailed, "t was deleted and made anew"):
      list(stream.batches())

  def test_lag_is_none_where_all_is_read_and_trained_on(self):
    batches = self.stream.batches()
    positions = next(batches).position
    partition = Partition("g", "t", 0)
    self.assertEqual(self.stream.lags(), {partition: 7})
    # The offset at the end is no message's.
    self.consumer.is_read = True
    stream_ledger.take(positions[:5])
    self.assertEqual(self.stream.lags(), {partition: 2})
    stream_ledger.take(positions[5:])
    self.assertEqual(self.stream.lags(), {partition: 0})

  def test_silence_is_told_however_many_rounds_it_lasts(self):
    clock = self.enter_context(mock.patch.object(kafka_stream, "time", _Clock()))
    stream = KafkaStream("t", "g", "127.0.0.1:1", message_poll_timeout=3000)
    consumer = stream._consumer = _Consumer()
    consumer.consume = lambda piece: clock.sleep(0.5) or _messages(0, 0)
    stream.begin({})
    with self.assertLogs(level="WARNING") as logged:
      for _ in range(100):  # Each lasts for a second.
        stream.begin_round(threading.Event())
        self.assertEqual(list(stream.batches()), [])
    self.assertLen(logged.output, 2)
    for line, secs in zip(logged.output, (3, 63), strict=True):
      self.assertEndsWith(line, f"no message of t for {secs} s")

  def test_making_one_asks_no_broker(self):
    """A check of settings would tell of brokers that are away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
      KafkaStream("t", "g", f"127.0.0.1:{server.getsockname()[1]}")
      server.settimeout(0.5)
      with self.assertRaises(TimeoutError):
        server.accept()

  def test_a_group_is_of_one_cluster(self):
    with process_streams.collected():
      KafkaStream("t", "g", "127.0.0.1:1")
      KafkaStream("s", "g", "127.0.0.1:1")
      KafkaStream("t", "h", "127.0.0.1:2")
      with self.assertRaisesRegex(
        ValueError, "name another group, or the same servers"
      ):
        KafkaStream("t", "g", "127.0.0.1:2")


if __name__ == "__main__":
  absltest.main()
