"""Speeds from logs whose answer is known."""

import json
import pathlib
import tempfile
import unittest

from monolith.native_training.benchmarks.throughput import NotSteady, read_throughput


class ReadThroughputTest(unittest.TestCase):
  def setUp(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self._folder = pathlib.Path(folder.name)

  def _log(self, name, step_times, cpu, **more):
    path = self._folder / name
    content = {"batch_size": 8, "step_times": step_times, "cpu": cpu, **more}
    path.write_text(json.dumps(content))
    return str(path)

  def test_counts_only_while_all_workers_are_warm_and_training(self):
    # Both are warm from 15 on; the first one ends at 20.
    first = self._log("a", [t / 2 for t in range(41)], [[0, 0], [30, 15]])
    second = self._log("b", [10 + t for t in range(21)], [[0, 0], [30, 30]])
    speed = read_throughput([first, second], warmup_seconds=5)
    self.assertEqual(speed.seconds, 5)
    self.assertEqual(speed.steps_per_second, 3)
    self.assertEqual(speed.examples_per_second, 24)
    self.assertAlmostEqual(speed.cpu_microseconds_per_example, 1e6 * 1.5 / 24)

  def test_servers_count_with_their_cpu_time_only(self):
    worker = self._log("worker", list(range(11)), [[0, 0], [10, 10]])
    server = self._log("server", [], [[0, 0], [10, 5]])
    speed = read_throughput([worker, server], warmup_seconds=0)
    self.assertEqual(speed.steps_per_second, 1)
    self.assertAlmostEqual(speed.cpu_microseconds_per_example, 1e6 * 1.5 / 8)

  def test_batches_that_are_smaller_count_as_such(self):
    log = self._log(
      "a", list(range(11)), [[0, 0]], examples=[100] * 6 + [1, 2, 3, 4, 5]
    )
    speed = read_throughput([log], warmup_seconds=5)
    self.assertEqual(speed.steps_per_second, 1)
    self.assertEqual(speed.examples_per_second, 3)

  def test_refuses_workers_that_did_not_train_together(self):
    first = self._log("a", [0, 1, 2], [[0, 0]])
    second = self._log("b", [3, 4, 5], [[0, 0]])
    with self.assertRaisesRegex(NotSteady, "before the last one had warmed up"):
      read_throughput([first, second], warmup_seconds=0)

  def test_refuses_a_job_without_steps(self):
    with self.assertRaisesRegex(NotSteady, "no process has made a step"):
      read_throughput([self._log("server", [], [[0, 0]])], warmup_seconds=0)


if __name__ == "__main__":
  unittest.main()
