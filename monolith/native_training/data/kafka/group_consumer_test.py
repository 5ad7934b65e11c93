"""A job's streams against a real broker that deletes, goes away or has transactions."""

import os
import select
import subprocess
import sys
import threading
import time
from unittest import mock

import confluent_kafka
import numpy as np
from absl.testing import absltest, parameterized
from confluent_kafka import KafkaError, TopicPartition

from monolith.native_training.data.kafka import stream_ledger, stream_offsets
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.group_consumer import (
  PartitionEnds,
)
from monolith.native_training.data.kafka.group_test_case import GroupTestCase
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.message_reader.message_reader import (
  ReadEvent,
)
from monolith.native_training.data.kafka.stream_offsets import (
  Offsets,
  Partition,
)

# Reads a few messages ahead only, so that it can be told when to read which.
_FEW_AHEAD = [
  "fetch.max.bytes=3000",
  "fetch.message.max.bytes=2000",
  "message.max.bytes=2000",
  "queued.min.messages=1",
  "receive.message.max.bytes=1000000",
]

# How soon a group misses a member that was killed; brokers allow no less.
_MISSED_MS = 6000


class _Job:
  """Streams of workers that train on all that they read.

  Attributes:
    trained_on: partition and offset of each message.
  """

  def __init__(self, streams: list[KafkaStream]):
    self._streams = streams
    self.trained_on: list[tuple[int, int]] = []
    for stream in streams:
      stream.begin({})

  def offsets(self) -> Offsets:
    """Where training is."""
    return stream_offsets.merge(stream.trained() for stream in self._streams)

  def round(self) -> None:
    """One of each worker, which ends when it gets nothing."""
    for stream in self._streams:
      stream.begin_round(threading.Event())
      for arrays in stream.batches():
        rows = zip(arrays.partition.tolist(), arrays.offset.tolist(), strict=True)
        self.trained_on += rows
        stream_ledger.take(arrays.position)
      assert not list(stream.drained()) and stream.is_drained
      stream.pass_rest()
      stream.pass_ends()
      for each in self._streams:
        each.know(self.offsets())

  def run(self) -> None:
    """Trains until the stream is over for all workers at once."""
    self.round()
    while not all(stream.is_over for stream in self._streams):
      self.round()


class GroupConsumerTest(GroupTestCase):
  def test_messages_that_were_deleted_before_it_began_are_counted(self):
    self.make_topic()
    self.send(30)
    self.delete(12)
    consumer = self.consumer(lambda partition: 5)
    consumer.open(is_of_job=True)
    with self.assertLogs(level="ERROR") as logged:
      got = self.read(consumer, 18)
    self.assertEqual(got, [(0, offset) for offset in range(12, 30)])
    self.assertEqual(consumer.deleted_messages, 7)
    self.assertIn("7 messages, offsets 5 to 11, were DELETED", logged.output[0])
    # They are not counted again when it gets the partition again.
    consumer.close()
    consumer.open(is_of_job=True)
    self.read(consumer, 18)
    self.assertEqual(consumer.deleted_messages, 7)

  @parameterized.parameters("cooperative-sticky", "range")
  def test_messages_that_are_deleted_while_it_reads_are_counted(self, strategy):
    self.make_topic(partitions=3)
    self.send(10)
    self.send(10, partition=1)
    consumer = self.consumer(
      configuration=[*_FEW_AHEAD, f"partition.assignment.strategy={strategy}"]
    )
    consumer.open(is_of_job=True)
    got = self.read(consumer, 20)
    client = consumer._consumer
    client.pause([TopicPartition(self.topic, 0)])
    self.send(40)
    self.delete(35)
    client.resume([TopicPartition(self.topic, 0)])
    self.send(10, partition=1)
    self.send(10, partition=2)
    got += self.read(consumer, 35)
    offsets = {i: [offset for p, offset in got if p == i] for i in range(3)}
    self.assertEqual(offsets[0], [*range(10), *range(35, 50)])
    self.assertEqual(offsets[1], list(range(20)))
    self.assertEqual(offsets[2], list(range(10)))
    self.assertEqual(consumer.deleted_messages, 25)

  def test_it_may_get_partitions_while_it_leaves(self):
    self.make_topic()
    self.send(10)
    consumer = self.consumer()
    consumer.open(is_of_job=True)
    client = consumer._consumer
    leaving = consumer._consumer = mock.Mock(wraps=client)

    def close() -> None:
      consumer._on_assign(leaving, [TopicPartition(self.topic, 0)])
      client.close()

    leaving.close = close
    consumer.close()
    self.assertFalse(consumer.has_joined)
    consumer.open(is_of_job=True)
    self.assertEqual(self.read(consumer, 10), [(0, offset) for offset in range(10)])

  def test_a_topic_that_was_made_anew_ends_it(self):
    self.make_topic()
    self.send(10)
    consumer = self.consumer(lambda partition: 11)
    consumer.open(is_of_job=True)
    with self.assertRaisesRegex(
      StreamFailed, "ends at offset 10, but training was at 11"
    ):
      while True:
        consumer.consume()

  def test_brokers_that_have_lost_the_end_of_a_log_end_it(self):
    self.make_topic()
    consumer = self.consumer()
    consumer.open(is_of_job=True)
    self.read(consumer, 0)
    cut_off = "Partition log truncation detected at offset 200. Reset to INVALID"
    error = KafkaError(KafkaError._AUTO_OFFSET_RESET, cut_off)
    reset = ReadEvent(error, self.topic, partition=0, offset=None)
    read = mock.patch.object(consumer._reader, "read", lambda *_: (None, [reset]))
    wanted = "at offset 200.* brokers have lost messages. Use another group_id"
    with read, self.assertRaisesRegex(StreamFailed, wanted):
      consumer.consume()

  def test_the_brokers_may_share_out_the_partitions(self):
    self.make_topic(partitions=2)
    first, second = (
      self.consumer(configuration=["group.protocol=consumer"]) for _ in range(2)
    )
    with self.assertRaisesRegex(ValueError, "session.timeout.ms.* not supported"):
      self.consumer(configuration=["group.protocol=consumer", "session.timeout.ms=9"])
    first.open(is_of_job=True)
    self.send(10)
    self.assertEqual(self.read(first, 10), [(0, offset) for offset in range(10)])
    partitions = {Partition(self.group, self.topic, i): i for i in range(2)}
    first.commit(dict.fromkeys(partitions, 0))
    # Another member gets one of them.
    second.open(is_of_job=True)
    while set(first.ends()) & set(second.ends()) or not second.ends():
      first.consume()
      second.consume()
    self.assertEqual(set(first.ends()) | set(second.ends()), set(partitions))
    first.close()
    while set(second.ends()) != set(partitions):
      second.consume()
    second.close()
    offsets = {partition: 10 for partition, i in partitions.items() if i == 0}
    self.consumer_group().commit_last(offsets, time.monotonic() + 20)
    self.assertEqual(self.committed(), 10)

  def test_of_as_many_as_there_are_only_whole_pieces_come_at_once(self):
    self.make_topic()
    self.send(25_000)
    consumer = self.consumer()
    consumer.open()
    counts = []
    while sum(counts) < 25_000:
      counts += [len(consumer.consume(piece=512).offset)]
    # 19 pieces: 10,000 are taken at once at most.
    self.assertLessEqual(max(counts), 9728)

  def test_partitions_do_not_wait_for_each_other_to_tell_their_ends(self):
    self.make_topic(partitions=40)
    consumer = self.consumer()
    consumer.open(is_of_job=True)
    self.read(consumer, 0)
    begin = time.monotonic()
    self.assertTrue(consumer.is_at_end())
    self.assertEqual(consumer.unread_of_others({}), {})
    consumer._consumer = mock.Mock(wraps=consumer._consumer)
    consumer._consumer.assignment = lambda: []
    self.assertEqual(consumer.unread_of_others({}), {})
    # A fetch that finds nothing takes half a second.
    self.assertLess(time.monotonic() - begin, 5)

  def test_topics_that_are_gone_are_not_at_their_end(self):
    self.make_topic()
    consumer = self.consumer()
    consumer.open(is_of_job=True)
    self.read(consumer, 0)
    self.admin.delete_topics([self.topic])[self.topic].result(30)
    with self.assertLogs(level="WARNING") as logged:
      while consumer.is_at_end():
        time.sleep(0.1)
      consumer._group.admin.close()  # What is gone is told otherwise where it is new.
      self.assertFalse(consumer.is_at_end())
    self.assertIn("waiting for it", logged.output[0])

  def test_lag_is_none_behind_transactions(self):
    self.make_topic()
    producer = confluent_kafka.Producer({**self.client, "transactional.id": "t"})
    producer.init_transactions(30)
    for is_kept in (True, True, False):
      producer.begin_transaction()
      for _ in range(10):
        producer.produce(self.topic, b"x")
      producer.flush()
      (producer.commit_transaction if is_kept else producer.abort_transaction)()
    stream = KafkaStream(self.topic, self.group, self.servers)
    self.addCleanup(stream.close)
    stream.begin(self.at(0))
    partition = Partition(self.group, self.topic, 0)
    positions = []
    # A round ends when nothing has come for a second, and the next one reads again what
    # is not trained on.
    while len(positions) < 20:
      stream.begin_round(threading.Event())
      positions = [p for arrays in stream.batches() for p in arrays.position]
    self.assertLen(positions, 20)
    self.assertGreaterEqual(stream.lags()[partition], 20)
    stream_ledger.take(np.array(positions))
    while stream.lags()[partition]:
      stream.begin_round(threading.Event())
      self.assertEqual(list(stream.batches()), [])

  def test_what_a_killed_member_had_is_trained_on_before_the_stream_is_over(self):
    self.make_topic(partitions=2)
    job = self._job(workers=1, configuration=[f"session.timeout.ms={_MISSED_MS}"])
    other = self._member_in_another_process()
    while not select.select([other.stdout], [], [], 0)[0]:
      job.round()
    self.send(5)
    self.send(5, partition=1)
    other.kill()
    job.run()
    self.assertCountEqual(
      job.trained_on, [(partition, at) for partition in range(2) for at in range(5)]
    )

  def _job(self, workers: int, configuration=()) -> _Job:
    streams = [
      KafkaStream(
        self.topic,
        self.group,
        self.servers,
        stream_timeout=1000,
        configuration=configuration,
      )
      for _ in range(workers)
    ]
    for stream in streams:
      self.addCleanup(stream.close)
    return _Job(streams)

  def _member_in_another_process(self) -> subprocess.Popen:
    """A member that says so when it has got one of two partitions."""
    settings = {
      **self.client,
      "group.id": self.group,
      "heartbeat.interval.ms": 500,
      "partition.assignment.strategy": "cooperative-sticky",
      "session.timeout.ms": _MISSED_MS,
    }
    program = (
      "import confluent_kafka\n"
      f"consumer = confluent_kafka.Consumer({settings})\n"
      f"consumer.subscribe([{self.topic!r}])\n"
      "while len(consumer.assignment()) != 1:\n"
      "  consumer.poll(0.1)\n"
      "print('has joined', flush=True)\n"
      "while True:\n"
      "  consumer.poll(0.1)\n"
    )
    member = subprocess.Popen(
      [sys.executable, "-c", program],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
    )
    self.addCleanup(member.wait)
    self.addCleanup(member.stdout.close)
    self.addCleanup(member.kill)
    return member

  def test_workers_do_not_wait_for_offsets_without_message(self):
    self.make_topic(partitions=2)
    producer = confluent_kafka.Producer({**self.client, "transactional.id": "job"})
    producer.init_transactions(30)
    for is_kept in (True, False):
      producer.begin_transaction()
      for partition in range(2):
        for _ in range(5):
          producer.produce(self.topic, b"x", partition=partition)
      producer.flush()
      (producer.commit_transaction if is_kept else producer.abort_transaction)()
    job = self._job(workers=2)
    job.run()
    self.assertCountEqual(
      set(job.trained_on),
      [(partition, at) for partition in range(2) for at in range(5)],
    )
    # Of each: 5 messages, their transaction's end, 5 that do not count, and an end.
    offsets = {p: o for p, o in job.offsets().items() if p.is_real}
    self.assertEqual(offsets, {**self.at(12), **self.at(12, partition=1)})

  def test_it_joins_anew_after_it_stood_still_for_too_long(self):
    self.make_topic()
    self.send(10)
    consumer = self.consumer(
      lambda partition: 4 if consumer.has_read else 0,
      [f"session.timeout.ms={_MISSED_MS}", f"max.poll.interval.ms={_MISSED_MS}"],
    )
    consumer.has_read = False
    consumer.open(is_of_job=True)
    self.read(consumer, 10)
    consumer.has_read = True
    time.sleep(_MISSED_MS / 1000 + 2)
    with self.assertLogs(level="WARNING") as logged:
      got = self.read(consumer, 6)
    self.assertEqual(got, [(0, offset) for offset in range(4, 10)])
    self.assertIn("maximum poll interval", logged.output[0])

  def test_what_was_there_is_known_when_it_has_left(self):
    self.make_topic()
    self.send(3)
    consumer = self.consumer()
    consumer.open()
    self.read(consumer, 3)
    consumer.close()
    partition = Partition(self.group, self.topic, 0)
    self.assertEqual(consumer.ends(), {partition: PartitionEnds(0, 3, True)})

  def test_it_does_not_leave_while_its_ends_are_looked_at(self):
    self.make_topic()
    consumer = self.consumer()
    consumer.open()
    client = consumer._consumer = mock.Mock()
    leaving = threading.Thread(target=consumer.close)

    def assignment():
      if not leaving.is_alive():
        leaving.start()
        leaving.join(0.5)
        client.close.assert_not_called()
      return []

    client.assignment = assignment
    self.assertEqual(consumer.ends(), {})
    leaving.join()
    client.close.assert_called_once()


if __name__ == "__main__":
  absltest.main()
