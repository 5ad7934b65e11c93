"""A worker that cannot reach its parameter servers for a while, or ever again."""

import time

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.job_processes import JobProcesses
from monolith.native_training.training.processes.breakable_connection import (
  BreakableConnection,
)
from monolith.native_training.training.sums_job import BATCH_SIZE, EXAMPLES

_CHIEF, _WORKER = ("worker", 0), ("worker", 1)


class NetworkCutTest(absltest.TestCase):
  def _job(self, *flags: str) -> tuple[JobProcesses, list[BreakableConnection]]:
    """A job whose second worker reaches each server over a connection of its own."""
    job = JobProcesses(
      {"worker": 2, "ps": 2},
      self.create_tempdir().full_path,
      "--step_secs=0.1",
      *flags,
    )
    connections = [
      self.enter_context(BreakableConnection(address))
      for address in job.addresses("ps")
    ]
    job.route(_WORKER, "ps", [connection.address for connection in connections])
    job.start(*job.tasks)
    return self.enter_context(job), connections

  def test_training_goes_on_after_a_short_cut(self):
    job, connections = self._job()
    job.wait_for_position(_WORKER, 10)
    for connection in connections:
      connection.cut()
    time.sleep(4)  # A step is under way by now, and does not come back.
    position = job.progress(_WORKER)["position"]
    time.sleep(1)
    self.assertEqual(job.progress(_WORKER)["position"], position)
    for connection in connections:
      connection.mend()
    for task in job.tasks:
      self.assertEqual(job.wait(task), 0, f"{task}: {job.log(task)[-3000:]}")
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertEqual(
      list(tf.train.load_variable(path, "monolith_data_positions")),
      [EXAMPLES // BATCH_SIZE // 2] * 2,
    )

  def test_a_worker_that_is_cut_off_names_the_server(self):
    # The chief trains for longer than the worker takes to give up.
    job, connections = self._job(
      "--worker_timeout_secs=20", "--slow_worker=0", "--step_secs=0.2"
    )
    job.wait_for_position(_WORKER, 10)
    connections[1].cut()
    self.assertEqual(job.wait(_WORKER), 1)
    self.assertRegex(
      job.log(_WORKER), rf"parameter server 1 \({connections[1].address}\)"
    )
    # The others do not need it. But its part was not trained, which it has told by way
    # of the server that it still reaches.
    self.assertEqual(job.wait(_CHIEF), 1, job.log(_CHIEF)[-3000:])
    self.assertRegex(
      job.log(_CHIEF), "RuntimeError: worker 1 failed: .*The job went on without it"
    )
    # Who is started again trains on what is left.
    self.assertFalse(checkpoint.is_final(checkpoint.latest_checkpoint(job.model_dir)))


if __name__ == "__main__":
  absltest.main()
