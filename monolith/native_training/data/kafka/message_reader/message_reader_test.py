"""Reading past a client of a real broker, which does all else."""

import itertools

import numpy as np
from absl.testing import absltest, parameterized
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from monolith.native_training.data.kafka.group_test_case import GroupTestCase
from monolith.native_training.data.kafka.message_reader.message_reader import (
  MessageReader,
  ReadMessages,
)


def _values(read: ReadMessages) -> list[bytes]:
  values = read.values.tobytes()
  return [values[i:j] for i, j in zip(read.begin, read.end, strict=True)]


class MessageReaderTest(GroupTestCase):
  def setUp(self):
    super().setUp()
    self.reader = MessageReader()
    self.addCleanup(self.reader.detach)

  def open_client(self, reader: MessageReader, **settings) -> Consumer:
    own = {**self.client, "group.id": self.group, "auto.offset.reset": "earliest"}
    own |= {"enable.partition.eof": "true", "fetch.wait.max.ms": 10}
    client = Consumer(reader.settings({**own, **settings}))
    self.addCleanup(client.close)
    return client

  def assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
    for partition in partitions:
      self.reader.claim(partition)
    client.assign(partitions)

  def read(self, count: int, reader: MessageReader | None = None) -> list[ReadMessages]:
    parts = []
    while sum(len(part.offset) for part in parts) < count:
      part, _ = (reader or self.reader).read(1000, 0.1)
      parts.append(part)
    return parts

  def test_messages_are_what_was_sent(self):
    self.make_topic()
    values = [b"first", b"", None, b"\x00\xff" * 40_000, b"last"]
    sent = [{"value": value, "partition": 0, "timestamp": 1234} for value in values]
    self.topics.send(
      self.topic, [{**m, "key": b"k", "headers": {"h": b"v"}} for m in sent]
    )
    client = self.open_client(self.reader)
    self.assign(client, [TopicPartition(self.topic, 0, 0)])
    parts = self.read(5)
    got = list(itertools.chain.from_iterable(map(_values, parts)))
    self.assertEqual(got, [value or b"" for value in values])
    offsets = np.concatenate([part.offset for part in parts])
    self.assertEqual(offsets.tolist(), list(range(5)))
    self.assertEqual(parts[0].topics, [self.topic])
    for part in parts:
      self.assertEqual(part.timestamp.tolist(), [1234] * len(part.offset))
      self.assertEqual(
        [column.dtype for column in (part.values, part.begin, part.end, part.offset)],
        [np.uint8, np.int64, np.int64, np.int64],
      )
    self.assertEmpty(client.consume(10, 0))

  def test_the_end_of_a_partition_is_an_event(self):
    self.make_topic()
    self.send(3)
    client = self.open_client(self.reader)
    self.assign(client, [TopicPartition(self.topic, 0, 0)])
    events = []
    while not events:
      _, events = self.reader.read(1000, 0.1)
    ((error, topic, partition, offset),) = events
    self.assertEqual(error.code(), KafkaError._PARTITION_EOF)
    self.assertEqual((topic, partition, offset), (self.topic, 0, 3))

  @parameterized.parameters(False, True)
  def test_none_is_lost_when_partitions_go_and_come_at_once(self, is_unassigned):
    self.make_topic()
    self.send(2000)
    client = self.open_client(self.reader)
    for begin in range(100):
      if is_unassigned:  # The client may still be ending the assignment before.
        client.unassign()
      self.assign(client, [TopicPartition(self.topic, 0, begin)])
      offsets = np.concatenate([part.offset for part in self.read(1 + begin % 3)])
      self.assertEqual(offsets.tolist(), list(range(begin, begin + len(offsets))))
      self.assertEmpty(client.consume(10, 0))

  def test_a_client_that_goes_back_reads_again(self):
    self.make_topic()
    self.send(50)
    client = self.open_client(self.reader)
    self.assign(client, [TopicPartition(self.topic, 0, 0)])
    self.read(50)
    client.seek(TopicPartition(self.topic, 0, 20))
    offsets = np.concatenate([part.offset for part in self.read(30)])
    self.assertEqual(offsets.tolist(), list(range(20, 50)))

  def test_each_client_has_its_own_reader(self):
    self.make_topic(partitions=2)
    self.send(10)
    self.send(20, partition=1)
    readers = [self.reader, MessageReader()]
    clients = [self.open_client(reader) for reader in readers]
    for i, (client, reader) in enumerate(zip(clients, readers, strict=True)):
      reader.claim(TopicPartition(self.topic, i))
      client.assign([TopicPartition(self.topic, i, 0)])
    for i, (reader, count) in enumerate(zip(readers, (10, 20), strict=True)):
      partitions = [part.partition for part in self.read(count, reader)]
      self.assertEqual(np.concatenate(partitions).tolist(), [i] * count)

  def test_a_client_may_go_before_its_reader_and_the_other_way_round(self):
    self.make_topic()
    self.send(10)
    client = self.open_client(self.reader)
    self.assign(client, [TopicPartition(self.topic, 0, 0)])
    self.read(10)
    client.close()
    messages, events = self.reader.read(10, 0.1)
    self.assertEmpty(messages.offset)
    self.assertEmpty(events)
    with self.assertRaisesRegex(RuntimeError, "no client gives its messages of"):
      self.reader.claim(TopicPartition(self.topic, 0))
    other = MessageReader()
    client = self.open_client(other)
    other.claim(TopicPartition(self.topic, 0))
    client.assign([TopicPartition(self.topic, 0, 0)])
    self.read(10, other)
    del other
    client.close()

  def test_a_topic_that_is_gone_is_an_event(self):
    told = []
    settings = {"topic.metadata.propagation.max.ms": 1000, "error_cb": told.append}
    client = self.open_client(self.reader, **settings)
    self.assign(client, [TopicPartition("not-there", 0, 0)])
    events = []
    while not events:
      _, events = self.reader.read(1000, 0.1)
    self.assertEqual(events[0].error.code(), KafkaError.UNKNOWN_TOPIC_OR_PART)
    self.assertEmpty(told)
    # What the client tells in its own calls, its own callback gets.
    client = self.open_client(
      MessageReader(), **{"bootstrap.servers": "127.0.0.1:1", "error_cb": told.append}
    )
    while not told:
      client.poll(0.1)

  def test_other_plugins_stay(self):
    settings = self.reader.settings({"plugin.library.paths": "theirs.so"})
    self.assertRegex(settings["plugin.library.paths"], r"^theirs\.so;.*_message_reader")
    with self.assertRaisesRegex(KafkaException, "theirs.so"):
      Consumer({**settings, "group.id": "g"})

  def test_a_client_of_a_reader_that_is_gone_is_refused(self):
    settings = MessageReader().settings({"group.id": "g"})
    with self.assertRaisesRegex(KafkaException, "there is no reader"):
      Consumer(settings)


if __name__ == "__main__":
  absltest.main()
