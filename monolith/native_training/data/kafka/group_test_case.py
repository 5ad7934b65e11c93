"""What tests of consumer groups against a real broker share."""

import re

import confluent_kafka
from absl.testing import parameterized
from confluent_kafka import TopicPartition, admin

from monolith.native_training.data.kafka.consumer_group import ConsumerGroup
from monolith.native_training.data.kafka.group_consumer import (
  GroupConsumer,
)
from monolith.native_training.data.kafka.stream_offsets import (
  Offsets,
  Partition,
)
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker


class GroupTestCase(parameterized.TestCase):
  """Has a broker, and of each test a topic and a group that are called after it."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.broker = cls.enterClassContext(LocalBroker())
    cls.servers = cls.broker.bootstrap_servers
    cls.client = {"bootstrap.servers": cls.servers}
    cls.admin = admin.AdminClient(cls.client)
    cls.topics = BrokerTopics(cls.servers)

  def setUp(self):
    super().setUp()
    name = self.id().rpartition(".")[2]
    self.topic = self.group = re.sub(r"\W+", "_", name)

  def make_topic(self, partitions: int = 1) -> None:
    self.topics.make(self.topic, partitions)

  def send(self, count: int, partition: int = 0) -> None:
    message = {"value": b"x" * 100, "partition": partition}
    self.topics.send(self.topic, [message] * count)

  def delete(self, before: int) -> None:
    records = [TopicPartition(self.topic, 0, before)]
    for future in self.admin.delete_records(records).values():
      future.result(30)

  def at(self, offset: int, partition: int = 0) -> Offsets:
    return {Partition(self.group, self.topic, partition): offset}

  def consumer(self, begins_at=lambda partition: 0, configuration=()):
    consumer = GroupConsumer(self.consumer_group(configuration), begins_at)
    self.addCleanup(consumer.close)
    return consumer

  def consumer_group(self, configuration=(), group="") -> ConsumerGroup:
    name = group or self.group
    return ConsumerGroup([self.topic], name, self.servers, configuration)

  def read(self, consumer: GroupConsumer, count: int) -> list[tuple[int, int]]:
    """Partition and offset of so many messages; none may follow."""
    got = []
    while len(got) < count or not consumer.is_at_end():
      messages = consumer.consume()
      got += zip(messages.partition.tolist(), messages.offset.tolist(), strict=True)
    return got

  def committed(self) -> int:
    consumer = confluent_kafka.Consumer({**self.client, "group.id": self.group})
    (p,) = consumer.committed([TopicPartition(self.topic, 0)], timeout=10)
    consumer.close()
    return p.offset
