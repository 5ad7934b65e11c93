"""Whole jobs of real processes: however a job ends, every process ends by itself."""

import glob
import os
import signal
import time

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.job_processes import JobProcesses
from monolith.native_training.training.sums_job import BATCH_SIZE, EXAMPLES

_LATE_SECONDS = 15
_SERVER_IS_SILENT = r"parameter server 1 \(127.0.0.1:\d+\) has not answered for 20 s"
_SERVER_IS_GONE = r"parameter server 0 \(127.0.0.1:\d+\) cannot be reached for 20 s"


class ClusterJobTest(absltest.TestCase):
  def _outcomes(
    self,
    jobs: dict[str, int],
    *flags: str,
    evaluator: bool = False,
    late: tuple[str, int] | None = None,
    kill: tuple[str, int] | None = None,
    stop: tuple[str, int] | None = None,
  ) -> tuple[str, dict[tuple[str, int], tuple[int, str]]]:
    """Runs a job to its end, which every process must reach by itself.

    Args:
      jobs: how many processes of each type.
      *flags: for each of them.
      evaluator: whether there is one as well.
      late: the process that starts well after the others.
      kill: the process that is killed while it trains.
      stop: the process that is stopped, but not ended, while it trains.

    Returns:
      Its model_dir, and the exit code and log of each process that was left alone.
    """
    folder = self.create_tempdir().full_path
    with JobProcesses(jobs, folder, *flags, evaluator=evaluator) as job:
      job.start(*(task for task in job.tasks if task != late))
      if late:
        time.sleep(_LATE_SECONDS)
        job.start(late)
      if kill or stop:
        job.wait_for_checkpoint()
      if kill:
        job.kill(kill)
      if stop:
        job.send(signal.SIGSTOP, stop)
      left_alone = [task for task in job.tasks if task not in (kill, stop)]
      return job.model_dir, {
        task: (job.wait(task), job.log(task)) for task in left_alone
      }

  def _run(self, *args, **kwargs) -> str:
    """Runs a job in which every process must leave with exit code 0; its model_dir."""
    model_dir, outcomes = self._outcomes(*args, **kwargs)
    for task, (code, log) in outcomes.items():
      self.assertEqual(code, 0, f"{task}: {log[-3000:]}")
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
    # The evaluator's, and those of chief and worker, which evaluate at the end.
    written = glob.glob(os.path.join(model_dir, "eval", "events.*"))
    self.assertLen(written, 3)
    for events in written:
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

  def test_everybody_leaves_when_the_chief_is_gone(self):
    _, outcomes = self._outcomes(
      {"worker": 2, "ps": 1},
      "--endless",
      "--save_checkpoints_steps=50",
      "--worker_timeout_secs=20",
      evaluator=True,
      kill=("worker", 0),
    )
    self.assertFailed(outcomes["ps", 0], "chief has not been heard of for 20 s")
    self.assertFailed(outcomes["worker", 1], _SERVER_IS_GONE)
    self.assertFailed(
      outcomes["evaluator", 0], "chief has given no sign of life in .* for 20 s"
    )

  def test_everybody_leaves_when_a_server_is_gone(self):
    _, outcomes = self._outcomes(
      {"worker": 2, "ps": 2},
      "--endless",
      "--save_checkpoints_steps=50",
      "--worker_timeout_secs=20",
      kill=("ps", 0),
    )
    for i in range(2):
      self.assertFailed(outcomes["worker", i], _SERVER_IS_GONE)
    self.assertFailed(outcomes["ps", 1], "chief has not been heard of for 20 s")

  def test_everybody_leaves_when_a_server_does_not_answer(self):
    _, outcomes = self._outcomes(
      {"worker": 2, "ps": 2},
      "--endless",
      "--save_checkpoints_steps=50",
      "--worker_timeout_secs=20",
      stop=("ps", 1),
    )
    for i in range(2):
      self.assertFailed(outcomes["worker", i], "TimeoutError: " + _SERVER_IS_SILENT)
    self.assertFailed(outcomes["ps", 0], "chief has not been heard of for 20 s")

  def test_a_worker_that_fails_fails_the_job_when_the_others_are_done(self):
    model_dir, outcomes = self._outcomes(
      {"worker": 2, "ps": 1}, "--fail_worker=1", "--worker_timeout_secs=20"
    )
    why = "FileNotFoundError: the data of this worker are gone"
    self.assertFailed(outcomes["worker", 1], why)
    self.assertFailed(outcomes["worker", 0], f"RuntimeError: worker 1 failed: {why}")
    self.assertEqual(outcomes["ps", 0][0], 0)
    path = checkpoint.latest_checkpoint(model_dir)
    self.assertEqual(checkpoint.step_of(path), EXAMPLES // BATCH_SIZE // 2)
    # Started again, the job goes on with what that worker has left.
    self.assertFalse(checkpoint.begins_data_anew(path))

  def assertFailed(self, outcome: tuple[int, str], message: str) -> None:
    code, log = outcome
    self.assertNotEqual(code, 0)
    self.assertRegex(log, message)

  def test_steps_are_those_of_the_job(self):
    model_dir = self._run({"worker": 2, "ps": 1}, "--steps=60", late=("worker", 1))
    self.assertBetween(self._step(model_dir), 60, 61)

  def test_one_worker_without_server(self):
    model_dir, outcomes = self._outcomes({"worker": 1}, "--steps=30")
    code, log = outcomes["worker", 0]
    self.assertEqual(code, 0, log[-3000:])
    self.assertEqual(self._step(model_dir), 30)
    # Without any flag.
    self.assertRegex(log, "saved .*model.ckpt-30 in .* s")
    self.assertRegex(log, "restored .*model.ckpt-30")


if __name__ == "__main__":
  absltest.main()
