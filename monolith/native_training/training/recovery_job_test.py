"""Whole jobs of real processes, in which some are killed and started again."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.job_processes import JobProcesses, Task
from monolith.native_training.training.sums_job import BATCH_SIZE, EXAMPLES

_BATCHES = EXAMPLES // BATCH_SIZE
_CHIEF, _WORKER = ("worker", 0), ("worker", 1)
_SERVERS = [("ps", 0), ("ps", 1)]
# Batches of 0.1 s and more: progress is told once a second, and a step may be on its
# way.
_MOST_NOT_TOLD = 12


class RecoveryJobTest(absltest.TestCase):
  def _job(self, *flags: str, **jobs: int) -> JobProcesses:
    job = JobProcesses(
      jobs or {"worker": 2, "ps": 2},
      self.create_tempdir().full_path,
      *flags,
      "--step_secs=0.1",
    )
    job.start(*job.tasks)
    return self.enter_context(job)

  def _assert_all_is_trained(self, job: JobProcesses) -> None:
    """Waits for the end of a job; it has trained on each batch once, as far as the
    model that it has saved goes."""
    for task in job.tasks:
      code = job.wait(task)
      self.assertEqual(code, 0, f"{task}: {job.log(task)[-3000:]}")
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertTrue(checkpoint.is_final(path))
    self.assertEqual(checkpoint.step_of(path), _BATCHES)
    positions = tf.train.load_variable(path, "monolith_data_positions")
    np.testing.assert_array_equal(positions, [_BATCHES // 2] * 2)

  def _leave(self, job: JobProcesses, *tasks: Task) -> None:
    """Waits until processes that were asked to leave have left."""
    for task in tasks:
      self.assertEqual(job.wait(task), 143, f"{task}: {job.log(task)[-3000:]}")

  def test_a_worker_that_is_killed_goes_on_where_it_was(self):
    job = self._job("--save_checkpoints_steps=1000")
    job.wait_for_position(_WORKER, 20)
    job.kill(_WORKER)
    job.start(_WORKER)
    self._assert_all_is_trained(job)
    self.assertRegex(job.log(_WORKER), r"data go on behind batch \d\d")
    self.assertLessEqual(job.progress(_WORKER)["batches"], _BATCHES // 2 - 20)
    self.assertEqual(job.progress(_WORKER)["position"], _BATCHES // 2)

  def test_all_go_back_to_the_last_checkpoint_when_a_server_is_killed(self):
    for server in _SERVERS:
      job = self._job("--save_checkpoints_steps=30")
      job.wait_for_checkpoint()
      position = job.progress(_WORKER)["position"]
      job.wait_for_position(_WORKER, position + 5)
      job.kill(server)
      job.start(server)
      self._assert_all_is_trained(job)
      self.assertRegex(job.log(_CHIEF), r"restored .*model.ckpt-\d+")
      # Some of them again.
      batches = sum(job.progress(task)["batches"] for task in (_CHIEF, _WORKER))
      self.assertGreater(batches, _BATCHES)

  def test_a_chief_without_data_saves_what_others_train(self):
    job = self._job("--save_checkpoints_secs=2", "--slow_worker=1")
    # It tells of its progress once a second.
    job.wait_for_position(_CHIEF, _BATCHES // 2 - 20)
    position = job.progress(_WORKER)["position"] + 20

    def is_saved() -> bool:
      path = checkpoint.latest_checkpoint(job.model_dir)
      saved = path and tf.train.load_variable(path, "monolith_data_positions")[1]
      return bool(path) and not checkpoint.is_final(path) and saved > position + 10

    job.wait_until("a checkpoint of what the other worker trained", is_saved)
    self._assert_all_is_trained(job)

  def test_a_chief_that_is_killed_goes_on_with_the_live_model(self):
    job = self._job("--save_checkpoints_steps=30")
    job.wait_for_checkpoint()
    position = job.progress(_CHIEF)["position"]
    job.wait_for_position(_CHIEF, position + 10)
    job.kill(_CHIEF)
    job.start(_CHIEF)
    self._assert_all_is_trained(job)
    log = job.log(_CHIEF)
    self.assertRegex(log, r"servers hold the model; going on at step \d+")
    # The evaluation at the end restores, the training does not.
    self.assertNotRegex(log.split("trained on")[0], "restored")
    self.assertEqual(job.progress(_WORKER)["batches"], _BATCHES // 2)

  def test_a_chief_that_is_killed_before_it_has_saved_saves_in_time_later(self):
    job = self._job("--save_checkpoints_steps=120")
    job.wait_for_position(_WORKER, 40)
    job.kill(_CHIEF)
    job.start(_CHIEF)
    self._assert_all_is_trained(job)
    # With the steps of its own it would not come to 120.
    paths = checkpoint.checkpoints(job.model_dir)
    self.assertBetween(checkpoint.step_of(paths[0]), 120, _BATCHES - 1)

  def test_a_job_all_of_which_is_killed_goes_on_from_its_checkpoint(self):
    job = self._job("--save_checkpoints_steps=30")
    job.wait_for_checkpoint()
    position = job.progress(_WORKER)["position"]
    job.wait_for_position(_WORKER, position + 5)
    job.kill(*job.tasks)
    saved = checkpoint.step_of(checkpoint.latest_checkpoint(job.model_dir))
    job.start(*job.tasks)
    self._assert_all_is_trained(job)
    self.assertIn(f"restored {job.model_dir}/model.ckpt-", job.log(_CHIEF))
    batches = sum(job.progress(task)["batches"] for task in (_CHIEF, _WORKER))
    self.assertLessEqual(batches, _BATCHES - saved + 3)

  def test_a_job_that_is_asked_to_leave_saves_and_goes_on_later(self):
    job = self._job("--save_checkpoints_steps=1000")
    job.wait_for_position(_WORKER, 10)
    job.send(signal.SIGTERM, *job.tasks)
    self._leave(job, *job.tasks)
    self.assertRegex(job.log(_CHIEF), r"SIGTERM: saved at step \d+")
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertFalse(checkpoint.is_final(path))
    job.start(*job.tasks)
    self._assert_all_is_trained(job)

  def test_a_server_that_is_asked_to_leave_loses_nothing(self):
    job = self._job("--save_checkpoints_steps=1000")
    workers = (_CHIEF, _WORKER)
    for task in workers:
      job.wait_for_position(task, 20)
    before = [job.progress(task)["position"] for task in workers]
    job.send(signal.SIGTERM, ("ps", 1))
    self._leave(job, ("ps", 1))
    self.assertRegex(job.log(("ps", 1)), "server 1 leaves; the chief has saved")
    path = checkpoint.latest_checkpoint(job.model_dir)
    saved = tf.train.load_variable(path, "monolith_data_positions")
    np.testing.assert_array_less(before, saved + 1)
    told = [job.progress(task)["position"] for task in workers]
    job.start(("ps", 1))
    self._assert_all_is_trained(job)
    self.assertRegex(job.log(_CHIEF), f"restored {path}")
    # Only what was trained while it left is trained again.
    for task, position, begins_at in zip(workers, told, saved, strict=True):
      again = job.progress(task)["batches"] - _BATCHES // 2
      self.assertBetween(
        again, position - begins_at, position - begins_at + _MOST_NOT_TOLD
      )

  def test_a_job_that_is_asked_to_leave_while_a_server_is_away_leaves(self):
    job = self._job("--save_checkpoints_steps=1000", "--stop_grace_secs=200")
    job.wait_for_position(_WORKER, 10)
    job.kill(("ps", 1))
    job.send(signal.SIGTERM, _CHIEF, _WORKER, ("ps", 0))
    self._leave(job, _CHIEF, _WORKER, ("ps", 0))
    self.assertRegex(job.log(("ps", 0)), "server 0 leaves after the chief")

  def test_workers_that_are_asked_to_leave_come_back(self):
    job = self._job("--save_checkpoints_steps=1000")
    job.wait_for_position(_WORKER, 10)
    job.send(signal.SIGTERM, _WORKER, _CHIEF)
    self._leave(job, _WORKER, _CHIEF)
    job.start(_WORKER, _CHIEF)
    self._assert_all_is_trained(job)
    self.assertNotRegex(job.log(_CHIEF), "worker 1 failed")
    self.assertRegex(job.log(_CHIEF), "servers hold the model; going on")

  def test_a_worker_that_fails_is_waited_for_at_the_end(self):
    job = self._job("--save_checkpoints_steps=1000", "--fail_worker=1")
    self.assertEqual(job.wait(_WORKER), 1)
    job.wait_until("the chief", lambda: "waiting for worker 1" in job.log(_CHIEF))
    job.flags = job.flags[:1]
    job.start(_WORKER)
    self._assert_all_is_trained(job)

  def test_a_job_without_a_worker_ends_once(self):
    job = self._job("--fail_worker=1", "--worker_timeout_secs=20")
    self.assertEqual(job.wait(_WORKER), 1)
    for server in _SERVERS:
      self.assertEqual(job.wait(server), 0)
    why = "RuntimeError: worker 1 failed: FileNotFoundError: the data of this worker"
    self.assertEqual(job.wait(_CHIEF), 1)
    self.assertRegex(job.log(_CHIEF), why)
    # A chief that is started by itself finds the same end.
    job.start(_CHIEF)
    self.assertEqual(job.wait(_CHIEF), 1)
    self.assertRegex(job.log(_CHIEF), why)
    # The whole job trains on what is left.
    job.flags = job.flags[1:]
    job.start(*job.tasks)
    self._assert_all_is_trained(job)
    self.assertEqual(job.progress(_WORKER)["batches"], _BATCHES // 2)

  def test_a_job_whose_worker_is_gone_leaves_what_that_had_to_train(self):
    job = self._job("--worker_timeout_secs=25", "--save_checkpoints_secs=2")
    job.wait_for_position(_WORKER, 10)
    job.wait_for_checkpoint()
    job.kill(_WORKER)
    self.assertEqual(job.wait(_CHIEF), 1)
    why = "RuntimeError: worker 1 has sent nothing for 25 s. The job went on without it"
    self.assertRegex(job.log(_CHIEF), why)
    for server in _SERVERS:
      self.assertEqual(job.wait(server), 0)
    self.assertFalse(checkpoint.is_final(checkpoint.latest_checkpoint(job.model_dir)))
    job.start(*job.tasks)
    self._assert_all_is_trained(job)
    self.assertLess(job.progress(_WORKER)["batches"], _BATCHES // 2)

  def test_a_chief_that_is_killed_in_its_last_export_makes_it_without_servers(self):
    may_export = os.path.join(self.create_tempdir().full_path, "may_export")
    job = self._job(
      f"--export_when={may_export}",
      "--worker_timeout_secs=15",
      "--save_checkpoints_steps=1000",
    )
    for task in (*_SERVERS, _WORKER):
      self.assertEqual(job.wait(task), 0, f"{task}: {job.log(task)[-3000:]}")
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertFalse(checkpoint.is_final(path))
    job.kill(_CHIEF)
    job.start(_CHIEF)
    ended = "did not get further than the end of the job"
    job.wait_until("the end", lambda: ended in job.log(_CHIEF))
    # For longer than who watches over servers stays when they are gone.
    with self.assertRaises(subprocess.TimeoutExpired):
      job.wait(_CHIEF, timeout_secs=38)
    with open(may_export, "w"):
      pass
    self._assert_all_is_trained(job)
    self.assertEqual(checkpoint.latest_checkpoint(job.model_dir), path)
    exports = os.path.join(job.model_dir, "exported_models")
    self.assertLen(os.listdir(exports), 1)

  def test_a_process_by_itself_saves_and_leaves(self):
    job = self._job("--save_checkpoints_steps=1000", worker=1)
    job.wait_for_position(_CHIEF, 10)
    job.send(signal.SIGTERM, _CHIEF)
    self._leave(job, _CHIEF)
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertFalse(checkpoint.is_final(path))
    position = tf.train.load_variable(path, "monolith_data_positions")
    self.assertEqual(list(position), [checkpoint.step_of(path)])

  def test_training_goes_on_while_nothing_can_be_saved(self):
    job = self._job("--save_checkpoints_steps=50", worker=1)
    # Its name is taken, which stops root too, whom permissions do not.
    in_the_way = checkpoint.tables_dir(checkpoint.path_of(job.model_dir, 50))
    os.makedirs(job.model_dir, exist_ok=True)
    with open(in_the_way, "w"):
      pass
    self.assertEqual(job.wait(_CHIEF), 0, job.log(_CHIEF)[-3000:])
    log = job.log(_CHIEF)
    self.assertRegex(log, "checkpoint of step 50 was NOT SAVED: .*TRAINING GOES ON")
    self.assertRegex(log, "last checkpoint is still none, and saving is tried again in")
    self.assertRegex(log, "saved .*model.ckpt-100 in")
    steps = [checkpoint.step_of(p) for p in checkpoint.checkpoints(job.model_dir)]
    self.assertEqual(steps, [100, 150, 200])

  def _assert_trained_although(self, job: JobProcesses, reason: str) -> None:
    """Waits for the end of a job that could not save for a while."""
    for task in job.tasks:
      self.assertEqual(job.wait(task), 0, f"{task}: {job.log(task)[-3000:]}")
    self.assertRegex(job.log(_CHIEF), f"NOT SAVED: .*{reason}")
    path = checkpoint.latest_checkpoint(job.model_dir)
    self.assertTrue(checkpoint.is_final(path))
    self.assertEqual(checkpoint.step_of(path), _BATCHES)

  def test_training_goes_on_while_servers_can_write_no_files(self):
    job = self._job("--save_checkpoints_steps=30", worker=1, ps=2)
    job.wait_for_checkpoint()
    first = checkpoint.latest_checkpoint(job.model_dir)
    job.limit_files(0, *_SERVERS)
    job.wait_until("an error", lambda: "was NOT SAVED" in job.log(_CHIEF))
    self.assertEqual(checkpoint.latest_checkpoint(job.model_dir), first)
    position = job.progress(_CHIEF)["position"]
    job.wait_for_position(_CHIEF, position + 10)
    job.limit_files(None, *_SERVERS)
    self._assert_trained_although(job, "(?i:too large)")

  def test_the_last_save_is_tried_until_there_is_room(self):
    job = self._job("--save_checkpoints_secs=2", worker=1, ps=2)
    job.wait_for_checkpoint()
    job.limit_files(0, *_SERVERS)
    job.wait_until("an error", lambda: "ALL IS TRAINED, and this" in job.log(_CHIEF))
    self.assertFalse(checkpoint.is_final(checkpoint.latest_checkpoint(job.model_dir)))
    job.limit_files(None, *_SERVERS)
    self._assert_trained_although(job, "(?i:too large)")

  def test_who_leaves_tells_the_servers_although_it_cannot_save(self):
    job = self._job(
      "--save_checkpoints_steps=1000", "--stop_grace_secs=200", worker=1, ps=2
    )
    job.wait_for_position(_CHIEF, 10)
    self._make_read_only(job.model_dir)
    job.send(signal.SIGTERM, *job.tasks)
    self._leave(job, *_SERVERS)
    self.assertRegex(job.log(("ps", 0)), "leaves after the chief")
    self.assertEqual(job.wait(_CHIEF), 1, job.log(_CHIEF)[-3000:])
    self.assertRegex(job.log(_CHIEF), "(?i:read-only|permi)")

  def test_a_save_that_hangs_is_told_of_and_ends_nothing(self):
    job = self._job(
      "--save_checkpoints_steps=50",
      "--long_save_secs=1",
      "--hung_save_secs=2",
      worker=1,
    )
    os.makedirs(job.model_dir, exist_ok=True)
    # Whoever writes to it waits for a reader.
    os.mkfifo(os.path.join(job.model_dir, "checkpoint.tmp"))
    job.wait_until("an error", lambda: "NOT SAVED YET after" in job.log(_CHIEF))
    position = job.progress(_CHIEF)["position"]
    job.wait_for_position(_CHIEF, position + 20)
    job.send(signal.SIGTERM, _CHIEF)
    self.assertEqual(job.wait(_CHIEF), 1)
    self.assertRegex(job.log(_CHIEF), "TimeoutError: .* storage may hang")

  def test_training_goes_on_while_the_disk_is_full(self):
    job = JobProcesses(
      {"worker": 1, "ps": 1},
      self.create_tempdir().full_path,
      "--save_checkpoints_steps=40",
      "--step_secs=0.1",
    )
    os.makedirs(job.model_dir)
    self._mount_disk(job.model_dir)
    job.start(*job.tasks)
    self.enter_context(job)
    job.wait_for_checkpoint()
    filler = os.path.join(job.model_dir, "filler")
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
      while True:
        file.write(bytes(1024))
    self._wait_for_error(job, r"NOT SAVED: .*(?i:space|exhausted)")
    os.remove(filler)
    self._assert_trained_although(job, "(?i:space|exhausted)")

  def test_training_goes_on_while_the_folder_is_read_only(self):
    job = self._job("--save_checkpoints_steps=40", worker=1)
    job.wait_for_checkpoint()
    make_writable = self._make_read_only(job.model_dir)
    self._wait_for_error(job, r"NOT SAVED: .*(?i:read-only|permi)")
    make_writable()
    self._assert_trained_although(job, "(?i:read-only|permi)")

  def _make_read_only(self, folder: str) -> Callable[[], object]:
    """Lets nobody make files in a folder; returns what undoes that."""
    if os.geteuid():
      os.chmod(folder, 0o555)
      return lambda: os.chmod(folder, 0o755)
    # Modes do not stop root.
    mount = ["mount", "-o", "bind,ro", folder, folder]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
      self.skipTest("there is no read-only folder for this user here")
    undo = ["umount", "--lazy", folder]
    self.addCleanup(subprocess.run, undo, check=False, stderr=subprocess.DEVNULL)
    return lambda: subprocess.run(undo, check=True)

  def _wait_for_error(self, job: JobProcesses, error: str) -> None:
    """Waits for an error that leaves the last checkpoint as it is."""
    job.wait_until(error, lambda: bool(re.search(error, job.log(_CHIEF))))
    last = checkpoint.latest_checkpoint(job.model_dir)
    self.assertIsNotNone(last)
    self.assertIn(f"the last checkpoint is still {last}", job.log(_CHIEF))

  def _mount_disk(self, folder: str) -> None:
    """Mounts a small disk in memory, where this user may."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "monolith_test", folder]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
      self.skipTest("this user may not mount a disk")
    self.addCleanup(subprocess.run, ["umount", "--lazy", folder], check=True)


if __name__ == "__main__":
  absltest.main()
