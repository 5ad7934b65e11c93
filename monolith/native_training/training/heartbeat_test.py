import os
from unittest import mock

from absl.testing import absltest

from monolith.native_training.training import heartbeat


class HeartbeatTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._now = 0.0
    self._dir = os.path.join(self.create_tempdir().full_path, "later")

  def test_a_beating_chief_is_heard_and_a_stopped_one_not(self):
    now = 0.0
    with mock.patch.object(heartbeat.time, "monotonic", lambda: now):
      watch = heartbeat.HeartbeatWatch(self._dir)
      with mock.patch.object(heartbeat, "_BEAT_SECS", 0.01):
        with heartbeat.beating(self._dir, "this"):
          now = 100.0
          self._wait_until(lambda: watch.silent_secs() == 0.0)
          now = 200.0
          self._wait_until(lambda: watch.silent_secs() == 0.0)
      now = 300.0
      self.assertGreaterEqual(watch.silent_secs(), 100.0)
    self.assertEmpty(os.listdir(self._dir))

  def test_a_failed_block_stops_the_beats(self):
    with self.assertRaisesRegex(ZeroDivisionError, "division"):
      with heartbeat.beating(self._dir, "this"):
        _ = 1 / 0
    self.assertEmpty(os.listdir(self._dir))

  def test_storage_that_cannot_be_written_is_said_and_survived(self):
    os.makedirs(os.path.join(self._dir, "chief.alive"))
    with self.assertLogs("absl", "WARNING") as logs:
      with heartbeat.beating(self._dir, "this"):
        pass
    self.assertIn("cannot write", logs.output[0])

  def _beats_of_another(self, count: int) -> None:
    """A chief of another job, and the folder at its `count`-th look."""
    os.makedirs(self._dir)
    file = os.path.join(self._dir, "chief.alive")
    looks = 0

    def sleep(seconds: float) -> None:
      nonlocal looks
      self._now += seconds
      looks += 1
      if looks <= count:
        with open(file, "w") as f:
          f.write(f"4711 {looks}.000 that\n")

    sleep(0)
    self.enter_context(mock.patch.object(heartbeat.time, "sleep", sleep))
    self.enter_context(
      mock.patch.object(heartbeat.time, "monotonic", lambda: self._now)
    )

  def test_a_folder_in_which_another_job_trains_is_refused(self):
    self._beats_of_another(2)
    with self.assertRaisesRegex(
      RuntimeError, "another job .*process 4711 .*chief.alive"
    ):
      with heartbeat.beating(self._dir, "this"):
        self.fail("it began")

  def test_what_a_killed_chief_of_another_job_has_left_does_not_count(self):
    self._beats_of_another(1)
    with heartbeat.beating(self._dir, "this"):
      self.assertBetween(self._now, 10, 15)
    self.assertEmpty(os.listdir(self._dir))

  def test_a_chief_of_the_same_job_does_not_wait(self):
    self._beats_of_another(1)
    with heartbeat.beating(self._dir, "that"):
      self.assertEqual(self._now, 0)

  def test_who_is_killed_at_the_end_is_known_to_the_next(self):
    file = os.path.join(self._dir, "chief.alive")
    with heartbeat.beating(self._dir, "this") as first:
      self.assertFalse(first.was_ending)
      first.job_ends()
      with open(file) as f:
        left_behind = f.read()
    for job, was_ending in (("this", True), ("this", False), ("that", False)):
      if was_ending:
        with open(file, "w") as f:
          f.write(left_behind)
      with heartbeat.beating(self._dir, job) as later:
        self.assertEqual(later.was_ending, was_ending)

  def _wait_until(self, condition) -> None:
    for _ in range(10_000):
      if condition():
        return
      heartbeat.threading.Event().wait(0.001)
    self.fail("it did not happen within 10 s")


if __name__ == "__main__":
  absltest.main()
