import os
from unittest import mock

from absl.testing import absltest

from monolith.native_training.training import heartbeat


class HeartbeatTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = os.path.join(self.create_tempdir().full_path, "later")

  def test_a_beating_chief_is_heard_and_a_stopped_one_not(self):
    now = 0.0
    with mock.patch.object(heartbeat.time, "monotonic", lambda: now):
      watch = heartbeat.HeartbeatWatch(self._dir)
      with mock.patch.object(heartbeat, "_BEAT_SECS", 0.01):
        with heartbeat.beating(self._dir):
          now = 100.0
          self._wait_until(lambda: watch.silent_secs() == 0.0)
          now = 200.0
          self._wait_until(lambda: watch.silent_secs() == 0.0)
      now = 300.0
      self.assertGreaterEqual(watch.silent_secs(), 100.0)
    self.assertEmpty(os.listdir(self._dir))

  def test_a_failed_block_stops_the_beats(self):
    with self.assertRaisesRegex(ZeroDivisionError, "division"):
      with heartbeat.beating(self._dir):
        _ = 1 / 0
    self.assertEmpty(os.listdir(self._dir))

  def test_storage_that_cannot_be_written_is_said_and_survived(self):
    os.makedirs(os.path.join(self._dir, "chief.alive"))
    with self.assertLogs("absl", "WARNING") as logs:
      with heartbeat.beating(self._dir):
        pass
    self.assertIn("cannot write", logs.output[0])

  def _wait_until(self, condition) -> None:
    for _ in range(10_000):
      if condition():
        return
      heartbeat.threading.Event().wait(0.001)
    self.fail("it did not happen within 10 s")


if __name__ == "__main__":
  absltest.main()
