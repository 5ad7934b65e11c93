"""The demo on a stream as a user runs it: a broker, a producer, servers and workers."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request
from unittest import mock

from absl.testing import absltest, parameterized

from monolith.native_training.data.example_values import serialize_one
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.processes_naming import processes_naming
from monolith.native_training.movie_ranking.demo.demo_test_case import two_free_ports

_DEMO = "monolith.native_training.demo"

_FAILING_JAVA = """#!/bin/bash
echo 'openjdk version "21.0.1"'
if [[ "$*" == *kafka.Kafka* ]]; then
  echo 'java.io.IOException: no disk'
  exit 1
fi
"""
_PRODUCER = "monolith.native_training.movie_ranking.kafka_producer"


class DemoStreamTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    # Of the demo and all that it starts.
    self._temporary = self.create_tempdir().full_path

  def _run(self, *flags: str) -> subprocess.Popen:
    return self._start("-m", _DEMO, "--training_type=stream", *flags)

  def _start(self, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
      [sys.executable, *arguments],
      env={
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": self._temporary,
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      # A shell's jobs in the background ignore it.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

  def _assert_nothing_is_left(self) -> None:
    self.assertEqual(os.listdir(self._temporary), [])
    # Broker, producer, servers and workers all have files there.
    self.assertEqual(processes_naming(self._temporary), [])

  def _send(self, servers: str, count: int) -> None:
    run = self._start(
      "-m", _PRODUCER, f"--servers={servers}", f"--max_messages={count}"
    )
    output, _ = run.communicate(timeout=120)
    self.assertEqual(run.returncode, 0, output)

  def _train(self, servers: str, model_dir: str, *flags: str) -> int:
    """Trains a model further, and returns on how many examples."""
    result_json = os.path.join(self.create_tempdir().full_path, "result.json")
    run = self._run(
      f"--kafka_servers={servers}",
      f"--model_dir={model_dir}",
      f"--result_json={result_json}",
      "--stream_timeout=5000",
      "--num_ps=0",
      "--num_workers=1",
      *flags,
    )
    output, _ = run.communicate(timeout=240)
    self.assertEqual(run.returncode, 0, output[-5000:])
    return json.loads(pathlib.Path(result_json).read_text())["examples"]

  def test_trains_on_the_stream(self):
    folder = self.create_tempdir().full_path
    result_json = os.path.join(folder, "result.json")
    port = two_free_ports()
    run = self._run(
      f"--model_dir={folder}/model",
      f"--result_json={result_json}",
      f"--metrics_port={port}",
      "--rate=8000",
      "--stream_timeout=6000",
    )
    metrics, output = "", []
    for line in run.stdout:
      output.append(line)
      if not metrics and re.match(r"\[worker 0\] step \d+: loss", line):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
          metrics = response.read().decode()
    text = "".join(output)
    self.assertEqual(run.wait(), 0, text[-5000:])
    result = json.loads(pathlib.Path(result_json).read_text())
    self.assertEqual(result["training_type"], "stream")
    # A worker that comes later takes partitions over, and what the chief had read ahead
    # of them is trained on twice: see `create_plain_kafka_dataset`.
    self.assertBetween(result["examples"], 89_809, 89_809 + 20_000)
    self.assertEqual(result["stream"]["lag"], 0)
    self.assertEqual(result["stream"]["bad_messages"], 0)
    # Always guessing the mean rating gives 1.126. At this rate ratings are read in the
    # order of their times, of which the last, which count most, are those of few
    # people: 0.976 to 1.047.
    self.assertLess(result["test_rmse"], 1.08)
    self.assertBetween(result["stream"]["progressive_rmse"], 0.9, 1.12)
    self.assertRegex(text, r"event to trained \d+ m?s ")
    self.assertRegex(metrics, r'monolith_stream_lag_messages{.*topic="movie-ratings"} ')
    self.assertEqual(processes_naming(folder), [])
    self.assertTrue(pathlib.Path(folder, "model", "logs", "kafka.log").exists())
    self._assert_nothing_is_left()

  def test_what_a_broker_that_fails_has_said_is_kept(self):
    folder = self.create_tempdir()
    java = folder.create_file("java", _FAILING_JAVA).full_path
    os.chmod(java, 0o755)
    path = os.pathsep.join([folder.full_path, os.environ["PATH"]])
    with mock.patch.dict(os.environ, {"PATH": path}):
      run = self._run(f"--model_dir={folder.full_path}/model")
      output, _ = run.communicate(timeout=60)
    self.assertEqual(run.returncode, 1, output)
    log = pathlib.Path(folder.full_path, "model", "logs", "kafka.log")
    self.assertEndsWith(
      output, f"(exit code 1): no disk. All that it said is in {log}.\n"
    )
    self.assertIn("no disk", log.read_text())
    self._assert_nothing_is_left()

  @parameterized.parameters(signal.SIGINT, signal.SIGTERM)
  def test_a_signal_in_mid_stream_leaves_nothing_behind(self, signum):
    folder = self.create_tempdir().full_path
    run = self._run(f"--model_dir={folder}/model", "--rate=2000")
    output, named = [], []
    for line in run.stdout:
      output.append(line)
      if not named and re.match(r"\[worker 0\] step \d+: loss", line):
        named = processes_naming(self._temporary)
        run.send_signal(signum)
    text = "".join(output)
    self.assertEqual(run.wait(), 128 + signum, text[-5000:])
    self.assertIn(f"stopped by {signum.name}; what was saved", text)
    # Else it would say nothing that none is left.
    for program in ("kafka.Kafka ", "kafka_producer", ".train "):
      self.assertTrue(any(program in command for command in named), named)
    self._assert_nothing_is_left()

  def test_every_folder_of_a_cluster_trains_on_all(self):
    folder = self.create_tempdir().full_path
    first, other = (os.path.join(folder, name, "movies") for name in ("a", "b"))
    with LocalBroker() as broker:
      servers = broker.bootstrap_servers
      self._send(servers, 2000)
      self.assertEqual(self._train(servers, first), 2000)
      self.assertEqual(self._train(servers, other), 2000)
      self._send(servers, 700)
      self.assertEqual(self._train(servers, first), 700)

  def test_too_much_garbage_is_told_in_a_line(self):
    with LocalBroker() as broker:
      topics = BrokerTopics(broker.bootstrap_servers)
      topics.make("garbage")
      rating = serialize_one({"mov": [1], "uid": [2], "label": [3.0]})
      topics.send("garbage", [b"garbage", rating] * 500)
      run = self._run(f"--kafka_servers={broker.bootstrap_servers}", "--topic=garbage")
      output, _ = run.communicate(timeout=120)
      self.assertEqual(run.returncode, 1, output)
      self.assertRegex(
        output.splitlines()[-1],
        r"^worker \d failed \(exit code 1\): [\d.]+% of the last .* messages are bad ",
      )
      # The chief may be told as well before the demo ends it.
      told = re.findall(r".*messages are bad .*", output)[:-1]
      for line in told:
        self.assertRegex(line, r"^\[worker 0\] warning: worker 1 failed: TooMany")
      self.assertLessEqual(len(told), 1, output)
      self.assertNotIn("Traceback", output)
      model_dir = self.create_tempdir().full_path
      trained = self._train(
        broker.bootstrap_servers,
        model_dir,
        "--topic=garbage",
        "--max_bad_message_ratio=0.6",
      )
      self.assertEqual(trained, 500)

  def test_settings_come_to_the_workers(self):
    with LocalBroker() as broker:
      self._send(broker.bootstrap_servers, 10)
      run = self._run(
        f"--kafka_servers={broker.bootstrap_servers}",
        "--kafka_configuration=auto.offset.reset=error",
        "--num_ps=0",
        "--num_workers=1",
      )
      output, _ = run.communicate(timeout=60)
    self.assertEqual(run.returncode, 1, output)
    self.assertRegex(
      output.splitlines()[-1],
      r"^worker 0 failed \(exit code 1\): group .*, and auto.offset.reset=error",
    )
    self.assertNotIn("Traceback", output)

  def test_a_cluster_that_is_not_there(self):
    run = self._run("--kafka_servers=127.0.0.1:1")
    output, _ = run.communicate(timeout=60)
    self.assertEqual(run.returncode, 2, output)
    self.assertIn("demo: --kafka_servers=127.0.0.1:1: ", output)


if __name__ == "__main__":
  absltest.main()
