"""The dataset against a real broker."""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from unittest import mock

import confluent_kafka
import tensorflow as tf
from absl.testing import absltest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from monolith.native_training.data import datasets
from monolith.native_training.data.example_parsing import decode_example, serialize_one
from monolith.native_training.data.kafka.kafka_messages import EVENT_TIME_MS, POSITION
from monolith.native_training.data.kafka.topic_admin import TopicAdmin
from monolith.native_training.data.page_faults import share_of_pages
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.local_cluster import python_environment

_FEATURES = {
  "uid": tf.io.RaggedFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}


# Reads topic argv[2], and ends in the middle of that.
_READ_A_PART = """
import sys
from monolith.native_training.data.datasets import create_plain_kafka_dataset
messages = iter(create_plain_kafka_dataset([sys.argv[2]], sys.argv[3], sys.argv[1]))
while next(messages).offset[0] < 5000:
  pass
print("read")
"""


class KafkaDatasetTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._broker = cls.enterClassContext(LocalBroker())
    cls._client = {"bootstrap.servers": cls._broker.bootstrap_servers}
    cls._topics = BrokerTopics(cls._broker.bootstrap_servers)

  def _make_topic(self, name: str) -> None:
    # What is sent has times that are long ago.
    self._topics.make(name, 3, {"retention.ms": "-1"})

  def _send(self, topic: str, messages: list[bytes]) -> None:
    self._topics.send(
      topic,
      (
        {"value": message, "partition": i % 3, "timestamp": 1000 + i}
        for i, message in enumerate(messages)
      ),
    )

  def _dataset(self, *topics: str, timeout: int = 2000, **arguments) -> tf.data.Dataset:
    return datasets.create_plain_kafka_dataset(
      topics,
      f"group of {topics[0]}",
      self._broker.bootstrap_servers,
      stream_timeout=timeout,
      **arguments,
    )

  def test_a_program_may_end_while_it_reads(self):
    self._make_topic("books")
    self._send("books", [b"x" * 60] * 60_000)
    servers = self._broker.bootstrap_servers
    for group in range(4):
      run = subprocess.run(
        [sys.executable, "-c", _READ_A_PART, servers, "books", f"end {group}"],
        stdout=subprocess.PIPE,
        env=python_environment(),
        timeout=120,
      )
      self.assertEqual((run.returncode, run.stdout), (0, b"read\n"))

  def test_all_messages_of_all_topics_are_read(self):
    sent = {}
    for topic in ("films", "songs"):
      self._make_topic(topic)
      sent[topic] = [f"{topic} {i}".encode() for i in range(1000)]
      self._send(topic, sent[topic])
    got = {"films": [], "songs": []}
    places, positions = set(), []
    # A topic that is new may be noticed some seconds after another.
    for x in self._dataset("films", "songs", timeout=8000, poll_batch_size=128):
      self.assertLessEqual(len(x.message), 128)
      positions += x.position.numpy().tolist()
      for message, topic, partition, offset, timestamp in zip(
        *(column.numpy() for column in x[:5]), strict=True
      ):
        got[topic.decode()].append(message)
        places.add((topic, partition, offset))
        i = int(message.split()[1])
        self.assertEqual((partition, offset), (i % 3, i // 3))
        self.assertEqual(timestamp, 1000 + i)
    for topic in got:
      self.assertCountEqual(got[topic], sent[topic])
    self.assertLen(places, 2000)
    self.assertEqual(positions, list(range(positions[0], positions[0] + 2000)))

  def test_malloc_keeps_large_buffers(self):
    self._topics.make("buffers")
    self._topics.send("buffers", [b"one"])
    self.assertLen(list(self._dataset("buffers")), 1)
    self.assertLess(share_of_pages(32), 0.1)

  def test_elements_have_as_many_messages_as_asked_for_at_most(self):
    self._topics.make("cut")
    sent = [b"%d" % i for i in range(1000)]
    self._topics.send("cut", sent)
    got, offsets, positions = [], [], []
    for x in self._dataset("cut", poll_batch_size=300):
      self.assertBetween(len(x.message), 1, 300)
      self.assertEqual(x.topic.numpy().tolist(), [b"cut"] * len(x.message))
      got += x.message.numpy().tolist()
      offsets += x.offset.numpy().tolist()
      positions += x.position.numpy().tolist()
    self.assertTrue(gc.isenabled())
    self.assertEqual(got, sent)
    self.assertEqual(offsets, list(range(1000)))
    self.assertEqual(positions, list(range(positions[0], positions[0] + 1000)))

  def test_examples_are_read_in_a_graph(self):
    self._make_topic("ratings")
    self._send(
      "ratings",
      [serialize_one({"uid": [i, -i], "label": float(i)}) for i in range(300)],
    )
    labels = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dataset = self._dataset("ratings").map(lambda x: decode_example(x, _FEATURES))
      batch = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
      with self.assertRaises(tf.errors.OutOfRangeError):
        while True:
          got = session.run(batch)
          labels += got["label"][:, 0].tolist()
          self.assertLen(got[POSITION], len(got["label"]))
          self.assertEqual(
            got[EVENT_TIME_MS].tolist(), (1000 + got["label"][:, 0]).tolist()
          )
    self.assertCountEqual(labels, range(300))

  def test_members_of_a_group_share_the_partitions(self):
    self._make_topic("shared")
    self._send("shared", [b"early"] * 30)
    got: list[list] = [[], []]

    def read(member: int) -> None:
      for x in self._dataset("shared", timeout=8000):
        got[member] += zip(x.message.numpy(), x.partition.numpy(), strict=True)

    def partitions(wanted: bytes) -> list[list]:
      """Those of the messages of a kind that each member has read."""
      return [[p for message, p in rows if message == wanted] for rows in got]

    threads = [threading.Thread(target=read, args=(i,)) for i in range(2)]
    for thread in threads:
      thread.start()
    # Until both have their partitions, and so that none is silent meanwhile.
    while not all(partitions(b"early")):
      self.assertTrue(all(thread.is_alive() for thread in threads))
      self._send("shared", [b"early"] * 3)
      time.sleep(0.1)
    self._send("shared", [b"late"] * 30)
    self._send("shared", [b"last"] * 3)
    while len(sum(partitions(b"last"), [])) < 3:
      self.assertTrue(all(thread.is_alive() for thread in threads))
      time.sleep(0.01)
    # Before one of them leaves, whose partitions the other would read again.
    one, other = partitions(b"late")
    for thread in threads:
      thread.join()
    self.assertLen(one + other, 30)
    self.assertNotEmpty(one)
    self.assertNotEmpty(other)
    self.assertEmpty(set(one) & set(other))

  def test_a_topic_that_appears_later_is_read(self):
    def appear() -> None:
      time.sleep(2)
      self._make_topic("later")
      self._send("later", [b"there"] * 6)

    thread = threading.Thread(target=appear)
    thread.start()
    messages = [m for x in self._dataset("later", timeout=15000) for m in x.message]
    thread.join()
    self.assertLen(messages, 6)

  def test_messages_that_came_while_the_broker_was_away_are_read(self):
    self._make_topic("outage")
    self._send("outage", [b"before"] * 30)
    got, places = [], set()
    asked, are_sent = threading.Event(), threading.Event()
    ask = TopicAdmin.bounds

    def bounds(admin: TopicAdmin, partitions: Iterable[TopicPartition]) -> dict:
      """No answer before all is sent, lest the stream be over, with nothing to read."""
      asked.set()
      counts = are_sent.is_set()
      answer = ask(admin, partitions)
      if not counts:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
      return answer

    self.enter_context(mock.patch.object(TopicAdmin, "bounds", bounds))
    # It asks nearly all the time whether the stream is over.
    dataset = self._dataset("outage", timeout=1000)

    def read() -> None:
      for x in dataset:
        got.extend(x.message.numpy())
        places.update(zip(x.partition.numpy(), x.offset.numpy(), strict=True))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while len(got) < 30:
      time.sleep(0.01)
    self._wait_until_again(asked)  # It knows that it has read all.
    self._broker.kill()
    self._wait_until_again(asked)
    producer = confluent_kafka.Producer(
      {**self._client, "reconnect.backoff.max.ms": 100, "log_level": 0}
    )
    for i in range(30):
      producer.produce("outage", b"meanwhile", partition=i % 3)
    self._broker.restart()
    self.assertEqual(producer.flush(60), 0)
    are_sent.set()
    reader.join()
    self.assertLen(places, 60)
    self.assertEqual(got, [b"before"] * 30 + [b"meanwhile"] * 30)

  def _wait_until_again(self, event: threading.Event) -> None:
    event.clear()
    self.assertTrue(event.wait(60))

  def test_what_nobody_has_committed_is_read_again(self):
    self._make_topic("again")
    self._send("again", [b"x"] * 9)
    dataset = self._dataset("again")
    for _ in range(2):
      self.assertEqual(sum(len(x.message) for x in dataset), 9)

  def test_another_iteration_ends_the_older_one(self):
    self._make_topic("twice")
    self._send("twice", [b"x"] * 9)
    dataset = self._dataset("twice")
    older = iter(dataset)
    got = len(next(older).message)
    self.assertEqual(sum(len(x.message) for x in dataset), 9)
    with self.assertRaisesRegex(tf.errors.OpError, "another iteration .* has begun"):
      while True:
        got += len(next(older).message)
    self.assertLessEqual(got, 9)

  def test_a_loop_that_was_left_does_not_disturb_another(self):
    self._make_topic("left")
    self._send("left", [b"x"] * 9)
    dataset = self._dataset("left")
    for _ in dataset:
      break
    gc.collect()
    self.assertEqual(sum(len(x.message) for x in dataset), 9)

  def test_joining_the_group_is_no_silence(self):
    self._make_topic("brief")
    self._send("brief", [b"x"] * 3)
    self.assertLen([x for x in self._dataset("brief", timeout=1) for _ in x.message], 3)

  def test_a_pattern_means_the_same_whoever_matches_names(self):
    for topic in ("jb-1", "jb-2", "my-jb-1", "odd"):
      self._make_topic(topic)
      self._send(topic, [topic.encode()])
    for protocol in ("classic", "consumer"):
      for pattern, wanted in (
        ("^jb-", [b"jb-1", b"jb-2"]),
        ("^jb-[2-9]$", [b"jb-2"]),
        ("^odd|b-1", [b"odd"]),
        # Kafka's own topics are not meant.
        ("^[_j]", [b"jb-1", b"jb-2"]),
      ):
        with self.subTest(f"{pattern} {protocol}"):
          dataset = datasets.create_plain_kafka_dataset(
            [pattern],
            f"{protocol} {pattern}",
            self._broker.bootstrap_servers,
            stream_timeout=1000,
            configuration=[f"group.protocol={protocol}"],
          )
          got = [message for x in dataset for message in x.message.numpy()]
          self.assertEqual(sorted(got), wanted)
    with self.assertRaisesRegex(ValueError, "topics: the pattern .* has a backslash"):
      self._dataset(r"^jb-\d")

  def test_settings_are_checked(self):
    for configuration, message in (
      (["fetch.maximum=3"], 'No such configuration property: "fetch.maximum"'),
      (["session.timeout.ms=soon"], "session.timeout.ms"),
      (["no value"], "wanted 'key=value'"),
      (["group.id=other"], "it is the argument `group_id`"),
      (["metadata.broker.list=other:1"], "it is the argument `servers`"),
      (["auto.commit.enable=true"], "committed when a checkpoint covers them"),
      (["offset.store.method=file"], "committed when a checkpoint covers them"),
      (["topic.blacklist=^x"], "the argument `topics` says which are read"),
      ("a=b", "list of 'key=value' strings"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        self._dataset("t", configuration=configuration)
    with self.assertRaisesRegex(ValueError, "topics: 'a' is named twice"):
      self._dataset("a", "b", "a")
    for name, value in (
      ("topics", []),
      ("topics", None),
      ("topics", 5),
      ("group_id", ""),
      ("group_id", "a\0b"),
      ("servers", None),
      ("stream_timeout", -2),
      ("poll_batch_size", 0),
      ("poll_batch_size", 1 << 31),
      ("message_poll_timeout", 0.5),
    ):
      arguments = {"topics": ["t"], "group_id": "g", "servers": "s:1", name: value}
      with self.assertRaisesRegex(ValueError, f"{name}: got "):
        datasets.create_plain_kafka_dataset(**arguments)


if __name__ == "__main__":
  absltest.main()
