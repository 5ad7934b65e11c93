"""Whole jobs of real processes: however a job ends, every process ends by itself."""

import glob
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training import checkpoint
from monolith.native_training.training.sums_job import BATCH_SIZE, EXAMPLES

_LIMIT_SECONDS = 240
_LATE_SECONDS = 15


def _addresses(count: int) -> list[str]:
  sockets = [socket.socket() for _ in range(count)]
  for each in sockets:
    each.bind(("127.0.0.1", 0))
  addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
  for each in sockets:
    each.close()
  return addresses


class ClusterJobTest(absltest.TestCase):
  def _run(
    self,
    jobs: dict[str, int],
    *flags: str,
    evaluator: bool = False,
    late: tuple[str, int] | None = None,
    kill_worker: bool = False,
  ) -> str:
    """Runs a job to its end; every process must leave with exit code 0.

    Args:
      jobs: how many processes of each type.
      *flags: for each of them.
      evaluator: whether there is one as well.
      late: the process that starts well after the others.
      kill_worker: kills worker 0 before it can end.

    Returns:
      Its model_dir.
    """
    cluster = {name: _addresses(count) for name, count in jobs.items()}
    tasks = [(name, i) for name, count in jobs.items() for i in range(count)]
    if evaluator:
      tasks.append(("evaluator", 0))
    model_dir = self.create_tempdir().full_path
    processes, logs = {}, {}
    for name, index in sorted(tasks, key=lambda task: task == late):
      if (name, index) == late:
        time.sleep(_LATE_SECONDS)
      task = {"type": name, "index": index}
      environment = {
        **os.environ,
        "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(sys.path),
      }
      logs[name, index] = tempfile.TemporaryFile("w+")
      processes[name, index] = subprocess.Popen(
        [
          sys.executable,
          "-m",
          "monolith.native_training.training.sums_job",
          f"--model_dir={model_dir}",
          *flags,
        ],
        env=environment,
        stderr=logs[name, index],
      )
    if kill_worker:
      time.sleep(1)
      killed = processes.pop(("worker", 0))
      killed.kill()
      killed.wait()
      logs.pop(("worker", 0)).close()
    try:
      for task, process in processes.items():
        code = process.wait(timeout=_LIMIT_SECONDS)
        logs[task].seek(0)
        self.assertEqual(code, 0, f"{task}: {logs[task].read()[-3000:]}")
    finally:
      for task, process in processes.items():
        if process.poll() is None:
          process.kill()
          process.wait()
        logs[task].close()
    return model_dir

  def _step(self, model_dir: str) -> int:
    path = checkpoint.latest_checkpoint(model_dir)
    self.assertTrue(checkpoint.is_final(path))
    return checkpoint.step_of(path)

  def test_end_of_data_with_chief_and_evaluator(self):
    jobs = {"chief": 1, "worker": 1, "ps": 2}
    model_dir = self._run(jobs, evaluator=True)
    # Chief and worker read one half each.
    self.assertEqual(self._step(model_dir), EXAMPLES // BATCH_SIZE)
    (events,) = glob.glob(os.path.join(model_dir, "eval", "events.*"))
    scores = {
      value.tag: value.simple_value
      for event in tf.compat.v1.train.summary_iterator(events)
      for value in event.summary.value
    }
    self.assertEqual(scores["global_step"], EXAMPLES // BATCH_SIZE)
    self.assertLess(scores["sum/rmse"], 0.9)  # Guessing the mean: 1.0.

  def test_max_steps(self):
    model_dir = self._run({"worker": 2, "ps": 2}, "--max_steps=50")
    # A worker may be in the middle of a step when the other reaches the last one.
    self.assertBetween(self._step(model_dir), 50, 51)

  def test_servers_leave_when_the_chief_is_gone(self):
    message = "(?s)ps', 0.*chief has not been heard of"
    with self.assertRaisesRegex(AssertionError, message):
      self._run({"worker": 1, "ps": 1}, "--worker_timeout_secs=20", kill_worker=True)

  def test_steps_are_those_of_the_job(self):
    model_dir = self._run({"worker": 2, "ps": 1}, "--steps=60", late=("worker", 1))
    self.assertBetween(self._step(model_dir), 60, 61)

  def test_one_worker_without_server(self):
    model_dir = self._run({"worker": 1}, "--steps=30")
    self.assertEqual(self._step(model_dir), 30)


if __name__ == "__main__":
  absltest.main()
