import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from unittest import mock

import confluent_kafka
from absl import app
from absl.testing import absltest, parameterized

from monolith.native_training.local_broker import broker as broker_program
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import (
  BrokerFailed,
  LocalBroker,
)
from monolith.native_training.local_runner.processes_naming import processes_naming

_TOPIC = "events"
_PROGRAM = "monolith.native_training.local_broker.broker"
# Hangs in one of its tasks.
_JAVA = """#!/bin/bash
if [[ "$*" == *{what}* ]]; then
  touch {folder}/runs
  sleep 60
fi
echo 'openjdk version "21.0.1"'
"""

# Ends with all that a broker says where it fails, and more of it.
_FAILING_JAVA = """#!/bin/bash
echo 'openjdk version "21.0.1"'
if [[ "$*" == *kafka.Kafka* ]]; then
  echo 'org.apache.kafka.common.errors.KafkaStorageException: Error while writing'
  echo $'\tat kafka.log.LogManager.checkpoint(LogManager.scala:618)'
  echo 'Caused by: java.io.IOException: No space left on device'
  for i in {{1..30}}; do echo "[main] INFO kafka - chatter $i"; done
  {end}
fi
"""


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


class LocalBrokerTest(parameterized.TestCase):
  def test_messages_outlive_a_broker_that_is_killed(self):
    data_dir = os.path.join(self.create_tempdir().full_path, "data")
    with LocalBroker(data_dir=data_dir) as broker:
      topics = BrokerTopics(broker.bootstrap_servers)
      topics.make(_TOPIC, 2)
      topics.send(_TOPIC, [b"a", b"b", b"c"])
      self.assertEqual(_consume(broker, 3), [b"a", b"b", b"c"])
      broker.kill()
      with self.assertRaisesRegex(BrokerFailed, "has ended"):
        broker.check()
      broker.restart()
      broker.check()
      topics.send(_TOPIC, [b"d"])
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
        BrokerTopics(broker.bootstrap_servers).make(_TOPIC, 2)
    self.assertEmpty(os.listdir(folder))

  def test_a_port_that_is_taken_is_named(self):
    with socket.create_server(("127.0.0.1", 0)) as taken:
      port = taken.getsockname()[1]
      with self.assertRaisesRegex(BrokerFailed, f"port {port} cannot be had"):
        LocalBroker(port).start()

  def test_a_folder_may_have_a_strange_name(self):
    data_dir = os.path.join(self.create_tempdir().full_path, "C:\\tëst 語😀 = #")
    # As where a service has no locale.
    with mock.patch.dict(os.environ, {"LC_ALL": "C"}):
      with LocalBroker(data_dir=data_dir) as broker:
        BrokerTopics(broker.bootstrap_servers).make(_TOPIC)
    self.assertIn(f"{_TOPIC}-0", os.listdir(os.path.join(data_dir, "logs")))

  def test_a_folder_with_a_comma_is_refused(self):
    folder = self.create_tempdir().full_path
    with self.assertRaisesRegex(BrokerFailed, "a,b: Kafka takes a comma for the end"):
      LocalBroker(data_dir=os.path.join(folder, "a,b")).__enter__()
    self.assertEmpty(os.listdir(folder))

  def test_a_folder_of_somebody_else_is_left_alone(self):
    folder = self.create_tempdir()
    folder.create_file("thesis.tex")
    with self.assertRaisesRegex(BrokerFailed, "files, but not of a broker"):
      with LocalBroker(data_dir=folder.full_path):
        pass
    self.assertEqual(os.listdir(folder.full_path), ["thesis.tex"])

  def test_a_folder_is_of_one_broker_at_a_time(self):
    data_dir = self.create_tempdir().full_path
    with LocalBroker(data_dir=data_dir) as broker:
      BrokerTopics(broker.bootstrap_servers).make(_TOPIC)
      settings = pathlib.Path(data_dir, "server.properties").read_text()
      with self.assertRaisesRegex(BrokerFailed, f"a broker runs on {data_dir} already"):
        LocalBroker(data_dir=data_dir).__enter__()
      self.assertEqual(
        pathlib.Path(data_dir, "server.properties").read_text(), settings
      )
      broker.check()
      BrokerTopics(broker.bootstrap_servers).send(_TOPIC, [b"a"])

  def test_settings_of_another_kafka_are_left_alone(self):
    folder = self.create_tempdir()
    theirs = folder.create_file("server.properties", "node.id=7\n")
    with self.assertRaisesRegex(BrokerFailed, "files, but not of a broker"):
      with LocalBroker(data_dir=folder.full_path):
        pass
    self.assertEqual(theirs.read_text(), "node.id=7\n")
    self.assertEqual(os.listdir(folder.full_path), ["server.properties"])

  @parameterized.parameters("-version", "kafka.tools.StorageTool")
  def test_ctrl_c_while_it_prepares_ends_it_in_order(self, what):
    folder = pathlib.Path(self.create_tempdir().full_path)
    java = folder / "java"
    java.write_text(_JAVA.format(what=what, folder=folder))
    java.chmod(0o755)
    program = subprocess.Popen(
      [sys.executable, "-m", _PROGRAM, "--port=0", f"--data_dir={folder}/data"],
      env={
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      start_new_session=True,
      # A shell's jobs in the background ignore it.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (folder / "runs").exists():
      self.assertIsNone(program.poll())
      time.sleep(0.05)
    os.killpg(program.pid, signal.SIGINT)  # As a terminal does.
    output, _ = program.communicate(timeout=30)
    self.assertEqual((program.returncode, output), (0, "Kafka has stopped\n"))
    self.assertEqual(processes_naming(str(folder)), [])

  def test_words_that_are_no_flags_are_refused(self):
    with self.assertRaisesRegex(app.UsageError, "are no flags: 9093"):
      broker_program.main(["broker", "9093"])

  def _failing_java(self, end: str) -> mock._patch_dict:
    folder = self.create_tempdir()
    folder.create_file("java", _FAILING_JAVA.format(end=end))
    os.chmod(os.path.join(folder.full_path, "java"), 0o755)
    return mock.patch.dict(
      os.environ, {"PATH": f"{folder.full_path}:{os.environ['PATH']}"}
    )

  def test_a_reason_is_told_and_where_the_log_is(self):
    folder = self.create_tempdir()
    data_dir, log_dir = folder.mkdir("data").full_path, folder.mkdir("logs").full_path
    said = r"Kafka did not start \(exit code 1\): No space left on device\."
    with self._failing_java("exit 1"):
      for logs in ("", log_dir):
        log = f"{logs or data_dir}/kafka.log"
        with self.assertRaisesRegex(BrokerFailed, f"^{said} All .* is in {log}.$"):
          LocalBroker(data_dir=data_dir, log_dir=logs).__enter__()
        self.assertIn("chatter 30", pathlib.Path(log).read_text())
      # The log of a temporary folder is gone.
      with self.assertRaisesRegex(
        BrokerFailed, rf"(?s)^{said} What it said last:\n\[main\].*chatter 30$"
      ):
        LocalBroker().__enter__()

  def test_a_signal_is_named(self):
    with self._failing_java("kill -9 $$"):
      with self.assertRaisesRegex(BrokerFailed, r"^Kafka did not start \(SIGKILL\).$"):
        LocalBroker().__enter__()

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
