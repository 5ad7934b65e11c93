"""A job's streams against a real broker that deletes, goes away or has transactions."""

import re
import threading
import time

import confluent_kafka
import numpy as np
from absl.testing import absltest, parameterized
from confluent_kafka import TopicPartition, admin

from monolith.native_training.data import stream_ledger
from monolith.native_training.data.broker_errors import StreamFailed
from monolith.native_training.data.group_consumer import GroupConsumer, PartitionEnds
from monolith.native_training.data.kafka_stream import KafkaStream
from monolith.native_training.data.stream_offsets import BEGUN, Offsets, Partition
from monolith.native_training.local_broker.local_broker import LocalBroker

# Reads a few messages ahead only, so that it can be told when to read which.
_FEW_AHEAD = [
  "fetch.max.bytes=3000",
  "fetch.message.max.bytes=2000",
  "message.max.bytes=2000",
  "queued.min.messages=1",
  "receive.message.max.bytes=1000000",
]


class GroupConsumerTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._broker = cls.enterClassContext(LocalBroker())
    cls._servers = cls._broker.bootstrap_servers
    cls._client = {"bootstrap.servers": cls._servers}
    cls._admin = admin.AdminClient(cls._client)

  def setUp(self):
    super().setUp()
    name = self.id().rpartition(".")[2]
    self._topic = self._group = re.sub(r"\W+", "_", name)

  def _make_topic(self, partitions: int = 1, name: str = "") -> None:
    name = name or self._topic
    new = admin.NewTopic(name, partitions, 1)
    self._admin.create_topics([new])[name].result(30)

  def _send(self, count: int, partition: int = 0, topic: str = "") -> None:
    producer = confluent_kafka.Producer({**self._client, "enable.idempotence": True})
    for _ in range(count):
      producer.produce(topic or self._topic, b"x" * 100, partition=partition)
    self.assertEqual(producer.flush(30), 0)

  def _delete(self, before: int) -> None:
    records = [TopicPartition(self._topic, 0, before)]
    for future in self._admin.delete_records(records).values():
      future.result(30)

  def _at(self, offset: int, partition: int = 0) -> Offsets:
    return {Partition(self._group, self._topic, partition): offset}

  def _consumer(self, begins_at=lambda partition: 0, configuration=(), group=""):
    consumer = GroupConsumer(
      [self._topic], group or self._group, self._servers, configuration, begins_at
    )
    self.addCleanup(consumer.close)
    return consumer

  def _read(self, consumer: GroupConsumer, count: int) -> list[tuple[int, int]]:
    """Partition and offset of so many messages; none may follow."""
    got = []
    while len(got) < count or not consumer.is_at_end():
      got += [(m.partition(), m.offset()) for m in consumer.consume()]
    return got

  def _committed(self) -> int:
    consumer = confluent_kafka.Consumer({**self._client, "group.id": self._group})
    (p,) = consumer.committed([TopicPartition(self._topic, 0)], timeout=10)
    consumer.close()
    return p.offset

  def test_messages_that_were_deleted_before_it_began_are_counted(self):
    self._make_topic()
    self._send(30)
    self._delete(12)
    consumer = self._consumer(lambda partition: 5)
    consumer.open(is_of_job=True)
    with self.assertLogs(level="ERROR") as logged:
      got = self._read(consumer, 18)
    self.assertEqual(got, [(0, offset) for offset in range(12, 30)])
    self.assertEqual(consumer.deleted_messages, 7)
    self.assertIn("7 messages, offsets 5 to 11, were DELETED", logged.output[0])
    # They are not counted again when it gets the partition again.
    consumer.close()
    consumer.open(is_of_job=True)
    self._read(consumer, 18)
    self.assertEqual(consumer.deleted_messages, 7)

  @parameterized.parameters("cooperative-sticky", "range")
  def test_messages_that_are_deleted_while_it_reads_are_counted(self, strategy):
    self._make_topic(partitions=3)
    self._send(10)
    self._send(10, partition=1)
    consumer = self._consumer(
      configuration=[*_FEW_AHEAD, f"partition.assignment.strategy={strategy}"]
    )
    consumer.open(is_of_job=True)
    got = self._read(consumer, 20)
    client = consumer._consumer
    client.pause([TopicPartition(self._topic, 0)])
    self._send(40)
    self._delete(35)
    client.resume([TopicPartition(self._topic, 0)])
    self._send(10, partition=1)
    self._send(10, partition=2)
    got += self._read(consumer, 35)
    offsets = {i: [offset for p, offset in got if p == i] for i in range(3)}
    self.assertEqual(offsets[0], [*range(10), *range(35, 50)])
    self.assertEqual(offsets[1], list(range(20)))
    self.assertEqual(offsets[2], list(range(10)))
    self.assertEqual(consumer.deleted_messages, 25)

  def test_a_topic_that_was_made_anew_ends_it(self):
    self._make_topic()
    self._send(10)
    consumer = self._consumer(lambda partition: 11)
    consumer.open(is_of_job=True)
    with self.assertRaisesRegex(
      StreamFailed, "ends at offset 10, but training was at 11"
    ):
      while True:
        consumer.consume()

  def test_the_brokers_may_share_out_the_partitions(self):
    self._make_topic(partitions=2)
    first, second = (
      self._consumer(configuration=["group.protocol=consumer"]) for _ in range(2)
    )
    with self.assertRaisesRegex(ValueError, "session.timeout.ms.* not supported"):
      self._consumer(configuration=["group.protocol=consumer", "session.timeout.ms=9"])
    first.open(is_of_job=True)
    self._send(10)
    self.assertEqual(self._read(first, 10), [(0, offset) for offset in range(10)])
    partitions = {Partition(self._group, self._topic, i): i for i in range(2)}
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
    first.commit_last(offsets, time.monotonic() + 20)
    self.assertEqual(self._committed(), 10)

  def test_of_as_many_as_there_are_only_whole_pieces_come_at_once(self):
    self._make_topic()
    self._send(25_000)
    consumer = self._consumer()
    consumer.open()
    counts = []
    while sum(counts) < 25_000:
      counts += [len(consumer.consume(piece=512))]
    # 19 pieces: 10,000 are taken at once at most.
    self.assertLessEqual(max(counts), 9728)

  def test_lag_is_none_behind_transactions(self):
    self._make_topic()
    producer = confluent_kafka.Producer({**self._client, "transactional.id": "t"})
    producer.init_transactions(30)
    for is_kept in (True, True, False):
      producer.begin_transaction()
      for _ in range(10):
        producer.produce(self._topic, b"x")
      producer.flush()
      (producer.commit_transaction if is_kept else producer.abort_transaction)()
    stream = KafkaStream(self._topic, self._group, self._servers)
    self.addCleanup(stream.close)
    stream.begin(self._at(0))
    partition = Partition(self._group, self._topic, 0)
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

  def test_where_to_begin_waits_for_a_broker_that_is_away(self):
    self._make_topic()
    self._send(10)
    stream = KafkaStream(self._topic, self._group, self._servers)
    asked = []

    def restart() -> None:
      asked.append(time.monotonic())
      if len(asked) == 2:
        self._broker.restart()

    self._broker.kill()
    with self.assertLogs(level="WARNING") as logged:
      found = stream.first_offsets({}, restart)
    self.assertIn(f"reading {self._topic} from {self._servers}: ", logged.output[0])
    self.assertIn("Connection refused", logged.output[0])
    self.assertEqual(
      found, {Partition(self._group, self._topic, BEGUN): 0, **self._at(0)}
    )
    # Whoever is asked to leave need not wait.
    with self.assertRaises(InterruptedError):
      stream.first_offsets({}, self._interrupt)

  def _interrupt(self) -> None:
    raise InterruptedError

  def test_where_to_begin_is_where_the_group_was_or_as_is_asked_for(self):
    self._make_topic()
    self._send(10)
    for reset, offset in (("smallest", 0), ("latest", 10)):
      consumer = self._consumer(configuration=[f"auto.offset.reset={reset}"])
      self.assertEqual(consumer.group_offsets(), self._at(offset))
    # Whoever asks next gets the same, though the topic has grown.
    self._send(5)
    self.assertEqual(self._consumer().group_offsets(), self._at(10))
    strict = self._consumer(configuration=["auto.offset.reset=error"], group="other")
    with self.assertRaisesRegex(
      StreamFailed, "'other' has committed no offset of topic"
    ):
      strict.group_offsets()

  def test_where_to_begin_at_the_end_waits_for_members_to_leave(self):
    self._make_topic()
    self._send(10)
    member = self._consumer()
    member.open()
    while not member.has_joined:
      member.consume()
    chief = self._consumer(configuration=["auto.offset.reset=latest"])
    with self.assertLogs(level="WARNING"):
      self.assertIsNone(chief.group_offsets())
    member.close()
    self.assertEqual(chief.group_offsets(), self._at(10))

  def test_the_last_commit_waits_for_members_to_leave(self):
    self._make_topic()
    member, other = self._consumer(), self._consumer()
    member.open()
    while not member.has_joined:
      member.consume()
    begin = time.monotonic()
    with self.assertRaises(StreamFailed):
      other.commit_last(self._at(7), begin + 2)
    self.assertBetween(time.monotonic() - begin, 2, 4)
    leaving = threading.Timer(1, member.close)
    leaving.start()
    other.commit_last(self._at(7), time.monotonic() + 30)
    leaving.join()
    self.assertEqual(self._committed(), 7)

  def test_the_last_commit_does_not_wait_for_members_that_have_done_it(self):
    self._make_topic()
    member, chief = self._consumer(), self._consumer()
    member.open()
    while not member.has_joined:
      member.consume()
    member.commit(self._at(7))
    begin = time.monotonic()
    chief.commit_last(self._at(7), begin + 10)
    self.assertLess(time.monotonic() - begin, 5)
    self.assertEqual(self._committed(), 7)

  def test_offsets_of_topics_that_are_gone_hold_up_no_others(self):
    self._make_topic()
    gone = {Partition(self._group, "gone", 0): 3}
    member, chief = self._consumer(), self._consumer()
    member.open()
    while not member.has_joined:
      member.consume()
    member.commit({**self._at(7), **gone})
    while self._committed() != 7:
      member.consume()
    member.close()
    chief.commit_last({**self._at(8), **gone}, time.monotonic() + 10)
    self.assertEqual(self._committed(), 8)

  def test_what_was_there_is_known_when_it_has_left(self):
    self._make_topic()
    self._send(3)
    consumer = self._consumer()
    consumer.open()
    self._read(consumer, 3)
    consumer.close()
    partition = Partition(self._group, self._topic, 0)
    self.assertEqual(consumer.ends(), {partition: PartitionEnds(0, 3, True)})

  def test_the_last_commit_does_not_wait_for_ever_for_a_broker_that_is_away(self):
    self._make_topic()
    consumer = self._consumer()
    self._broker.kill()
    begin = time.monotonic()
    with self.assertRaises(StreamFailed):
      consumer.commit_last(self._at(7), begin + 2)
    self.assertBetween(time.monotonic() - begin, 2, 4)
    self._broker.restart()
    consumer.commit_last(self._at(8), time.monotonic() + 30)
    self.assertEqual(self._committed(), 8)


if __name__ == "__main__":
  absltest.main()
