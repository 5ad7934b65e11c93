"""TLS and passwords, which streams have by `configuration`, against a real broker."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from unittest import mock

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.data import datasets, kafka_topics
from monolith.native_training.data.bad_messages import BadMessage
from monolith.native_training.data.dead_letters import KafkaDeadLetters
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_offsets import Partition
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker

_JAAS = (
  "org.apache.kafka.common.security.plain.PlainLoginModule required "
  'username="broker" password="own" user_broker="own" user_trainer="right";'
)


class KafkaSecurityTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    for name in ("broker", "stranger"):
      cls._make_certificate(name)
    with open(cls._path("store.pem"), "w") as store:
      for name in ("broker.key", "broker.pem"):
        with open(cls._path(name)) as part:
          store.write(part.read())
    cls._broker = cls.enterClassContext(
      LocalBroker(
        properties={
          "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,CLIENTS:SASL_SSL",
          "ssl.keystore.type": "PEM",
          "ssl.keystore.location": cls._path("store.pem"),
          "ssl.truststore.type": "PEM",
          "ssl.truststore.location": cls._path("broker.pem"),
          "sasl.enabled.mechanisms": "PLAIN",
          "sasl.mechanism.inter.broker.protocol": "PLAIN",
          "listener.name.clients.plain.sasl.jaas.config": _JAAS,
        }
      )
    )
    cls._servers = cls._broker.bootstrap_servers
    cls._settings = {
      "security.protocol": "sasl_ssl",
      "ssl.ca.location": cls._path("broker.pem"),
      "sasl.mechanism": "PLAIN",
      "sasl.username": "trainer",
      "sasl.password": "right",
    }

  @classmethod
  def _path(cls, name: str) -> str:
    return os.path.join(cls._folder, name)

  @classmethod
  def _make_certificate(cls, name: str) -> None:
    """A key and a certificate for 127.0.0.1 that is its own authority."""
    key, certificate = cls._path(f"{name}.key"), cls._path(f"{name}.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)

  def setUp(self):
    super().setUp()
    self._topic = self.id().rpartition(".")[2].split(" ")[0]
    topics = BrokerTopics(self._servers, self._settings)
    topics.make(self._topic)
    topics.send(self._topic, [b"secret"] * 10)

  def _configuration(self, changes: Mapping[str, str | None]) -> list[str]:
    settings = {**self._settings, **changes}
    return [f"{key}={value}" for key, value in settings.items() if value is not None]

  def _stream(self, changes: Mapping[str, str | None] = {}) -> KafkaStream:
    stream = KafkaStream(
      self._topic, "g", self._servers, configuration=self._configuration(changes)
    )
    self.addCleanup(stream.close)
    return stream

  def test_messages_are_read_and_committed(self):
    stream = self._stream()
    first = stream.first_offsets({}, lambda: None)
    partition = Partition("g", self._topic, 0)
    self.assertEqual(first[partition], 0)
    stream.begin(first)
    arrays = None
    while arrays is None:  # A round ends when nothing has come for a second.
      stream.begin_round(threading.Event())
      arrays = next(stream.batches(), None)
    self.assertEqual(arrays.values.tobytes(), b"secret" * 10)
    stream.close()
    stream.commit_last({partition: 7}, time.monotonic() + 30)
    dataset = datasets.create_plain_kafka_dataset(
      [self._topic], "g", self._servers, 2000, configuration=self._configuration({})
    )
    self.assertEqual([m for x in dataset for m in x.message.numpy()], [b"secret"] * 3)

  def test_bad_messages_are_sent_to_a_topic_that_is_made(self):
    topic = f"{self._topic}-dead"
    letters = KafkaDeadLetters(self._servers, topic, self._configuration({}))
    letters.send([BadMessage(b"x", "garbage")])
    letters.close(30)
    self.assertEqual((letters.delivered, letters.failed), (1, 0))

  @parameterized.named_parameters(
    ("certificate", "ssl.ca.location", "stranger.pem", "certificate verify failed"),
    ("password", "sasl.password", "wrong", "Authentication failed"),
  )
  def test_what_is_wrong_ends_it(self, key, value, message):
    if key.endswith("location"):
      value = self._path(value)
    with self.assertRaisesRegex(StreamFailed, message):
      self._stream({key: value}).first_offsets({}, lambda: None)
    with self.assertRaisesRegex(StreamFailed, message):
      list(self._stream({key: value}).batches())
    dataset = datasets.create_plain_kafka_dataset(
      [self._topic],
      "g",
      self._servers,
      configuration=self._configuration({key: value}),
    )
    with self.assertRaisesRegex(tf.errors.OpError, message):
      list(dataset)

  def test_who_asks_for_topics_hears_what_is_wrong(self):
    kafka_topics.check(self._servers, self._settings)
    kafka_topics.ensure(self._servers, self._topic, 1, self._settings)
    wrong = {**self._settings, "sasl.password": "wrong"}
    stranger = {**self._settings, "ssl.ca.location": self._path("stranger.pem")}
    none = {**self._settings, "security.protocol": "sasl_plaintext"}
    with mock.patch.object(kafka_topics, "_ANSWER_SECS", 3):
      with self.assertRaisesRegex(RuntimeError, "Authentication failed"):
        kafka_topics.check(self._servers, wrong)
      with self.assertRaisesRegex(RuntimeError, "certificate verify failed"):
        kafka_topics.check(self._servers, stranger)
      with self.assertRaisesRegex(
        RuntimeError, "topic new cannot be made at .* than 'sasl_plaintext'"
      ):
        kafka_topics.ensure(self._servers, "new", 1, none)

  @parameterized.named_parameters(
    ("nothing", {"security.protocol": None}, "plaintext"),
    ("no_login", {"security.protocol": "ssl"}, "ssl"),
    ("no_encryption", {"security.protocol": "sasl_plaintext"}, "sasl_plaintext"),
  )
  def test_another_protocol_is_waited_for_with_a_hint(self, changes, protocol):
    hint = f"another security.protocol than '{protocol}'"
    give_up = time.monotonic() + 150  # Each kind of error is said once a minute.

    def is_over() -> bool:
      return hint in "\n".join(logged.output) or time.monotonic() > give_up

    def leave() -> None:
      if is_over():
        raise InterruptedError

    with self.assertLogs(level="WARNING") as logged:
      with self.assertRaises(InterruptedError):
        self._stream(changes).first_offsets({}, leave)
    self.assertIn(hint, "\n".join(logged.output))
    stream = self._stream(changes)
    stream.begin({})
    with self.assertLogs(level="WARNING") as logged:
      while not is_over():
        stream.begin_round(threading.Event())
        self.assertEqual(list(stream.batches()), [])
    self.assertIn(hint, "\n".join(logged.output))


if __name__ == "__main__":
  absltest.main()
