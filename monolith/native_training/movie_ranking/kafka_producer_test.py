import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from unittest import mock

import confluent_kafka
import numpy as np
import tensorflow as tf
from absl.testing import absltest, flagsaver
from confluent_kafka import Message, TopicPartition

from monolith.native_training.data import datasets
from monolith.native_training.data.example_parsing import decode_example
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.movie_ranking import kafka_producer, timed_ratings

_FEATURES = {
  "mov": tf.io.RaggedFeature(tf.int64),
  "uid": tf.io.RaggedFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}
_MODULE = "monolith.native_training.movie_ranking.kafka_producer"
_LIMIT_SECS = 120


class KafkaProducerTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._data_dir = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls._broker = cls.enterClassContext(LocalBroker(data_dir=cls._data_dir))
    cls._topics = BrokerTopics(cls._broker.bootstrap_servers)

  def _run(
    self, *flags: str, stdout: int = subprocess.PIPE
  ) -> subprocess.CompletedProcess:
    return subprocess.run(
      [sys.executable, "-m", _MODULE, *flags],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=stdout,
      stderr=subprocess.PIPE,
      text=True,
      timeout=240,
      check=False,
    )

  def test_ratings_arrive_in_the_order_of_their_times(self):
    servers = self._broker.bootstrap_servers
    done = self._run(
      f"--servers={servers}", "--topic=stars", "--partitions=1", "--max_messages=700"
    )
    self.assertEqual(done.returncode, 0, done.stderr[-2000:])
    self.assertIn("700 ratings are in stars", done.stdout)
    dataset = datasets.create_plain_kafka_dataset(
      ["stars"], "test", servers, stream_timeout=3000
    )
    got = [decode_example(x, _FEATURES) for x in dataset]
    table = timed_ratings.ratings_by_time("100k", held_out=False)
    self.assertTrue(np.all(np.diff(table["timestamp"]) >= 0))
    for name in ("mov", "uid", "label"):
      values = [f[name].flat_values if name != "label" else f[name] for f in got]
      np.testing.assert_array_equal(
        np.concatenate([np.ravel(v) for v in values]), table[name][:700]
      )

  def _read(self, topic: str, count: int) -> list[Message]:
    servers = self._broker.bootstrap_servers
    consumer = confluent_kafka.Consumer({"bootstrap.servers": servers, "group.id": "g"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, _LIMIT_SECS)
    consumer.close()
    return messages

  def _compression(self, topic: str) -> int:
    """That of a topic's first batch, see Kafka's format of record batches."""
    (log,) = pathlib.Path(self._data_dir, "logs", f"{topic}-0").glob("*0.log")
    return int.from_bytes(log.read_bytes()[21:23], "big") & 7

  def test_messages_have_keys_and_are_compressed(self):
    for topic, flags, compression in (
      ("lz4", [], 3),
      ("none", ["--configuration=compression.type=none"], 0),
    ):
      done = self._run(
        f"--servers={self._broker.bootstrap_servers}",
        f"--topic={topic}",
        "--partitions=1",
        "--max_messages=500",
        *flags,
      )
      self.assertEqual(done.returncode, 0, done.stderr[-2000:])
      self.assertEqual(self._compression(topic), compression)
    users = timed_ratings.ratings_by_time("100k", held_out=False)["uid"][:500]
    keys = [message.key() for message in self._read("lz4", 500)]
    self.assertEqual(keys, [str(user).encode() for user in users])

  def test_what_is_not_delivered_is_counted(self):
    self._topics.make("small", configuration={"max.message.bytes": "20"})
    done = self._run(
      f"--servers={self._broker.bootstrap_servers}",
      "--topic=small",
      "--max_messages=20",
      "--configuration=delivery.timeout.ms=3000",
      "--configuration=linger.ms=0",
    )
    self.assertEqual(done.returncode, 1)
    self.assertRegex(done.stderr, r"20 were not delivered: ")

  def _start(self, *arguments: str) -> tuple[subprocess.Popen, pathlib.Path]:
    """A process, and the file of what it says."""
    log = pathlib.Path(self.create_tempfile().full_path)
    with log.open("w") as file:
      process = subprocess.Popen(
        [sys.executable, *arguments, f"--servers={self._broker.bootstrap_servers}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=file,
        stderr=subprocess.STDOUT,
      )
    self.addCleanup(process.wait)
    self.addCleanup(process.kill)
    return process, log

  def _wait_until(self, words: str, log: pathlib.Path) -> None:
    give_up = time.monotonic() + _LIMIT_SECS
    while not log.exists() or words not in log.read_text():
      self.assertLess(time.monotonic(), give_up, words)
      time.sleep(0.05)

  def test_what_is_not_delivered_is_told_at_once(self):
    self._topics.make("tiny", configuration={"max.message.bytes": "20"})
    process, log = self._start("-m", _MODULE, "--topic=tiny", "--loop", "--rate=20")
    self._wait_until("kafka_producer: ", log)
    self.assertRegex(log.read_text(), r"\d+ not delivered, \d+ in all: .*large")
    self.assertIsNone(process.poll())
    process.send_signal(signal.SIGINT)
    self.assertEqual(process.wait(_LIMIT_SECS), 1)
    self.assertNotIn("Traceback", log.read_text())

  def test_a_signal_ends_a_loop(self):
    for signum in (signal.SIGINT, signal.SIGTERM):
      progress = pathlib.Path(self.create_tempdir().full_path, "progress.json")
      process, log = self._start(
        "-m", _MODULE, "--topic=loop", "--loop", f"--progress_file={progress}"
      )
      self._wait_until("sent", progress)
      process.send_signal(signum)
      self.assertEqual(process.wait(_LIMIT_SECS), 128 + signum)
      text = log.read_text()
      self.assertRegex(text, r"[\d,]+ ratings are in loop\n")
      self.assertNotIn("Traceback", text)

  def test_goes_on_without_a_progress_file(self):
    folder = pathlib.Path(self.create_tempdir().full_path, "progress")
    folder.mkdir()
    progress = folder / "progress.json"
    process, log = self._start(
      "-m", _MODULE, "--topic=gone", "--loop", f"--progress_file={progress}"
    )
    self._wait_until("sent", progress)
    shutil.move(folder, f"{folder}.moved")
    self._wait_until("--progress_file: cannot write", log)
    process.send_signal(signal.SIGINT)
    self.assertEqual(process.wait(_LIMIT_SECS), 128 + signal.SIGINT)
    self.assertRegex(log.read_text(), r"[\d,]+ ratings are in gone\n")

  def test_a_signal_ends_it_while_ratings_are_read(self):
    program = """
    import time
    from unittest import mock
    from absl import app
    from monolith.native_training.movie_ranking import kafka_producer, timed_ratings

    def ratings_by_time(*arguments):
      print("reading", flush=True)
      time.sleep(600)

    with mock.patch.object(timed_ratings, "ratings_by_time", ratings_by_time):
      app.run(kafka_producer.main)
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
      process, log = self._start("-c", textwrap.dedent(program))
      self._wait_until("reading", log)
      process.send_signal(signum)
      # A shell's 128 + signum.
      self.assertEqual(process.wait(_LIMIT_SECS), -signum)
      self.assertTrue(log.read_text().endswith("reading\n"), log.read_text())

  def test_flags_that_make_no_sense_are_refused(self):
    for flags, message in (
      (["--loop", "--passes=3"], "--passes has no effect with --loop"),
      (["--topic=a/b"], "--topic: 'a/b' is no name of a topic"),
      (["--rate=nan"], "--rate=nan is no number of messages a second"),
      (["--progress_file=/no/x.json"], "--progress_file: cannot write in folder /no: "),
    ):
      done = self._run(f"--servers={self._broker.bootstrap_servers}", *flags)
      self.assertEqual(done.returncode, 1)
      self.assertIn(f"kafka_producer: {message}", done.stderr)
      self.assertLen(done.stderr.splitlines(), 1)
      self.assertEqual(done.stdout, "")

  def test_it_ends_quietly_where_nobody_reads(self):
    reader, writer = os.pipe()
    os.close(reader)
    servers = f"--servers={self._broker.bootstrap_servers}"
    done = self._run(
      servers, "--topic=unread", "--partitions=1", "--max_messages=9", stdout=writer
    )
    os.close(writer)
    self.assertEqual(done.returncode, 1)
    self.assertNotIn("Traceback", done.stderr)
    self.assertLen(self._read("unread", 9), 9)

  def test_words_that_are_no_flags_are_refused(self):
    done = self._run("--servers=127.0.0.1:1", "--loop", "false")
    self.assertEqual(done.returncode, 1)
    self.assertIn("arguments that are no flags: false", done.stderr)

  def test_brokers_that_are_not_there_are_named(self):
    done = self._run("--servers=127.0.0.1:1")
    self.assertEqual(done.returncode, 1)
    self.assertRegex(done.stderr, "topic movie-ratings cannot be made at 127.0.0.1:1: ")

  def test_a_setting_that_is_unknown_is_named(self):
    done = self._run("--configuration=lingr.ms=3")
    self.assertEqual(done.returncode, 1)
    self.assertIn('No such configuration property: "lingr.ms"', done.stderr)


class _PacedProducer:
  """Notes when it sends what, by a clock that stands in for `time`: it goes on only
  while this waits, and stands still for long while one message is sent."""

  SLOW, SECS = 100, 0.05

  def __init__(self):
    self._now = 1000.0
    self.times: list[float] = []

  def monotonic(self) -> float:
    return self._now

  def wait(self, secs: float) -> None:
    self._now += secs

  def send(self, user: int, movie: int, stars: float) -> None:
    del user, movie, stars
    if len(self.times) == self.SLOW:
      self._now += self.SECS
    self.times.append(self._now - 1000.0)


class RateTest(absltest.TestCase):
  def test_no_message_is_earlier_than_its_rate_says(self):
    producer = _PacedProducer()
    table = dict.fromkeys(("uid", "mov", "label"), np.ones(70))
    with (
      flagsaver.flagsaver(rate=200, loop=True, max_messages=300),
      mock.patch.object(kafka_producer, "time", producer),
    ):
      kafka_producer._send(table, producer)
    late = np.array(producer.times) - np.arange(300) / 200
    # A wait is left out that would be shorter than two milliseconds.
    self.assertTrue(np.all(late >= -0.002), late)
    # What a message was late is caught up with, and no more than that.
    caught_up = producer.SLOW + round(producer.SECS * 200)
    for begin, end in ((0, producer.SLOW), (caught_up, 300)):
      self.assertLess(np.max(late[begin:end]), 1e-6)


if __name__ == "__main__":
  absltest.main()
