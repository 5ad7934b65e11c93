import os
import socket
import tempfile
from unittest import mock

import confluent_kafka
from absl.testing import absltest
from confluent_kafka import admin

from monolith.native_training.local_broker.local_broker import (
  BrokerFailed,
  LocalBroker,
)

_TOPIC = "events"


def _make_topic(broker: LocalBroker) -> None:
  client = admin.AdminClient({"bootstrap.servers": broker.bootstrap_servers})
  client.create_topics([admin.NewTopic(_TOPIC, 2, 1)])[_TOPIC].result(30)


def _produce(broker: LocalBroker, messages: list[bytes]) -> None:
  producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap_servers})
  for message in messages:
    producer.produce(_TOPIC, message)
  if producer.flush(30):
    raise TimeoutError("messages were not sent")


def _consume(broker: LocalBroker, count: int) -> list[bytes]:
  consumer = confluent_kafka.Consumer(
    {
      "bootstrap.servers": broker.bootstrap_servers,
      "group.id": "test",
      "auto.offset.reset": "earliest",
      "enable.auto.commit": False,
    }
  )
  consumer.subscribe([_TOPIC])
  messages: list[bytes] = []
  for _ in range(60):
    messages += [m.value() for m in consumer.consume(count, 1.0) if not m.error()]
    if len(messages) >= count:
      break
  consumer.close()
  return sorted(messages)


class LocalBrokerTest(absltest.TestCase):
  def test_messages_outlive_a_broker_that_is_killed(self):
    data_dir = os.path.join(self.create_tempdir().full_path, "data")
    with LocalBroker(data_dir=data_dir) as broker:
      _make_topic(broker)
      _produce(broker, [b"a", b"b", b"c"])
      self.assertEqual(_consume(broker, 3), [b"a", b"b", b"c"])
      broker.kill()
      with self.assertRaisesRegex(BrokerFailed, "has ended"):
        broker.check()
      broker.restart()
      broker.check()
      _produce(broker, [b"d"])
      self.assertEqual(_consume(broker, 4), [b"a", b"b", b"c", b"d"])
      port = broker.port
    with socket.socket() as free:
      free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      free.bind(("127.0.0.1", port))
    # Another one goes on with the folder.
    with LocalBroker(data_dir=data_dir) as broker:
      self.assertLen(_consume(broker, 4), 4)

  def test_a_temporary_folder_is_removed(self):
    folder = self.create_tempdir().full_path
    with mock.patch.object(tempfile, "tempdir", folder):
      with LocalBroker() as broker:
        self.assertLen(os.listdir(folder), 1)
        _make_topic(broker)
    self.assertEmpty(os.listdir(folder))

  def test_a_port_that_is_taken_is_named(self):
    with socket.create_server(("127.0.0.1", 0)) as taken:
      port = taken.getsockname()[1]
      with self.assertRaisesRegex(BrokerFailed, f"port {port} cannot be had"):
        LocalBroker(port).start()

  def test_a_folder_of_somebody_else_is_left_alone(self):
    folder = self.create_tempdir()
    folder.create_file("thesis.tex")
    with self.assertRaisesRegex(BrokerFailed, "files, but not of a broker"):
      with LocalBroker(data_dir=folder.full_path):
        pass
    self.assertEqual(os.listdir(folder.full_path), ["thesis.tex"])

  def test_without_java_or_maven_it_says_what_to_install(self):
    with mock.patch.dict(os.environ, {"PATH": ""}):
      with self.assertRaisesRegex(BrokerFailed, "apt-get install default-jre-headless"):
        LocalBroker().start()
    cache = {"XDG_CACHE_HOME": self.create_tempdir().full_path}
    only_java = self.create_tempdir().full_path
    os.symlink("/usr/bin/java", os.path.join(only_java, "java"))
    with mock.patch.dict(os.environ, {"PATH": only_java, **cache}):
      with self.assertRaisesRegex(BrokerFailed, "apt-get install maven"):
        LocalBroker().start()


if __name__ == "__main__":
  absltest.main()
