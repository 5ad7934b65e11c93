"""Runs every command of README.md, in its order, and the program that it shows."""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import confluent_kafka
from absl.testing import absltest

from monolith.native_training.local_runner import local_cluster

_README = pathlib.Path(__file__).with_name("README.md")
_PACKAGE = "monolith.native_training"
_MODULES = {
  "//monolith/native_training:demo": f"{_PACKAGE}.demo",
  "//monolith/native_training/movie_ranking:kafka_producer": (
    f"{_PACKAGE}.movie_ranking.kafka_producer"
  ),
  "//monolith/native_training/movie_ranking:train": f"{_PACKAGE}.movie_ranking.train",
  "//tools/kafka:broker": f"{_PACKAGE}.local_broker.broker",
}
_PROGRAM = "//clicks"
# They run beside those that follow: until the end, and until they are through.
_BROKER, _PRODUCER = "//tools/kafka:broker", "movie_ranking:kafka_producer"
_LIMIT_SECONDS = 300


class ReadmeTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = self.create_tempdir().full_path
    (self._port,) = local_cluster.free_ports(1)
    self._text = _README.read_text().replace("9092", str(self._port))
    self._text = self._text.replace("/tmp/", f"{self._folder}/")

  def _arguments(self, command: str) -> list[str]:
    """What a command runs, without Bazel, which no test can run."""
    words = shlex.split(command)
    self.assertEqual(words[:2], ["tools/bazel", "run"], command)
    label, arguments = words[2], words[4:]
    self.assertEqual(words[3:4], ["--"] if arguments else [], command)
    if label == _PROGRAM:
      return [sys.executable, self._program(), *arguments]
    return [sys.executable, "-m", _MODULES[label], *arguments]

  def _program(self) -> str:
    (source,) = re.findall(r"```python\n(.*?)```", self._text, re.DOTALL)
    path = os.path.join(self._folder, "clicks.py")
    pathlib.Path(path).write_text(source)
    return path

  def _start(self, command: str, log: str) -> subprocess.Popen:
    with open(log, "w") as file:
      process = subprocess.Popen(
        self._arguments(command),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=file,
        stderr=subprocess.STDOUT,
      )
    self.addCleanup(process.wait)
    self.addCleanup(process.kill)
    return process

  def test_every_command(self):
    commands = re.findall(r"^    (tools/bazel .*)$", self._text, re.MULTILINE)
    self.assertEqual(
      sum(_PROGRAM in command for command in commands), 2, "send, and train"
    )
    others = {command.split()[2] for command in commands} - {_PROGRAM}
    self.assertEqual(others, set(_MODULES))
    outputs, beside = [], []
    for number, command in enumerate(commands):
      log = os.path.join(self._folder, f"{number}.log")
      process = self._start(command, log)
      if _BROKER in command:
        broker, broker_log = process, log
        self._wait_until("Kafka is ready", log)
      elif _PRODUCER in command:
        beside.append((process, command, log))
        # It prepares the ratings first; a stream may be silent for 10 s.
        self._wait_until_sent()
      else:
        outputs.append(self._output(process, command, log))
    for process, command, log in beside:
      self.assertIn("20,000 ratings are in", self._output(process, command, log))
    broker.send_signal(signal.SIGINT)
    self.assertIn("Kafka has stopped", self._output(broker, "broker", broker_log))
    batch, stream, own_broker, one, _, clicks = outputs
    self.assertRegex(batch, r"test RMSE +0\.9")
    # A worker that comes later takes partitions over, and what the chief had read ahead
    # of them is trained on twice: see `create_plain_kafka_dataset`.
    self.assertBetween(_trained(stream), 89_809, 89_809 + 20_000)
    # 3 % above one pass over files, which ends at 0.985 to 1.005.
    self.assertLess(_test_rmse(stream), 1.035)
    self.assertBetween(_trained(own_broker), 20_000, 2 * 20_000 - 1)
    self.assertIn("trained on 89,600 examples", one)
    # Chance is 0.5.
    self.assertGreater(float(re.search(r"clicked/auc': ([\d.]+)", clicks)[1]), 0.9)

  def _output(self, process: subprocess.Popen, command: str, log: str) -> str:
    """What a process has said that ends well."""
    code = process.wait(timeout=_LIMIT_SECONDS)
    text = pathlib.Path(log).read_text()
    self.assertEqual(code, 0, f"{command}:\n{text[-5000:]}")
    return text

  def _wait_until_sent(self) -> None:
    """Returns when the first rating is in the topic."""
    consumer = confluent_kafka.Consumer(
      {"bootstrap.servers": f"127.0.0.1:{self._port}", "group.id": "readme"}
    )
    give_up = time.monotonic() + _LIMIT_SECONDS
    sent = 0
    while not sent:
      self.assertLess(time.monotonic(), give_up, "nothing was sent")
      time.sleep(0.2)
      topic = consumer.list_topics(timeout=10).topics.get("movie-ratings")
      for partition in topic.partitions if topic else ():
        place = confluent_kafka.TopicPartition("movie-ratings", partition)
        sent += consumer.get_watermark_offsets(place, timeout=10)[1]
    consumer.close()

  def _wait_until(self, words: str, log: str) -> None:
    give_up = time.monotonic() + _LIMIT_SECONDS
    while words not in pathlib.Path(log).read_text():
      self.assertLess(time.monotonic(), give_up, pathlib.Path(log).read_text())
      time.sleep(0.1)


def _trained(output: str) -> int:
  """How many examples a demo has trained on."""
  return int(re.search(r"examples trained +([\d,]+)", output)[1].replace(",", ""))


def _test_rmse(output: str) -> float:
  """How well what a demo has trained predicts."""
  return float(re.search(r"test RMSE +([\d.]+)", output)[1])


if __name__ == "__main__":
  absltest.main()
