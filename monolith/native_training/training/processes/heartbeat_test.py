import json
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.processes import heartbeat


def _writing_ends_with(error: BaseException):
  """Files are opened, which empties them, and nothing is written."""

  class Emptied(tf.io.gfile.GFile):
    def write(self, text):
      super().write("")
      raise error

  return mock.patch.object(tf.io.gfile, "GFile", Emptied)


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
      watch.silent_secs()
      now = 300.0
      self.assertGreaterEqual(watch.silent_secs(), 100.0)
    self._assert_has_left()

  def test_a_failed_block_stops_the_beats(self):
    with self.assertRaisesRegex(ZeroDivisionError, "division"):
      with heartbeat.beating(self._dir, "this"):
        _ = 1 / 0
    self._assert_has_left()

  def test_storage_that_cannot_be_written_is_said_and_survived(self):
    os.makedirs(os.path.join(self._dir, "chief.alive"))
    with self.assertLogs("absl", "WARNING") as logs:
      with heartbeat.beating(self._dir, "this"):
        pass
    self.assertIn("cannot write", logs.output[0])
    self.assertEqual(os.listdir(self._dir), ["chief.alive"])

  def test_a_sign_that_cannot_be_written_leaves_the_one_before(self):
    full = tf.errors.ResourceExhaustedError(None, None, "no space left")
    with heartbeat.beating(self._dir, "this") as chief:
      sign = self._sign()
      with (
        _writing_ends_with(full),
        self.assertLogs("absl", "WARNING") as logs,
      ):
        chief.job_ends()
      self.assertIn("no space left", logs.output[0])
      self.assertEqual(self._sign(), sign)
      chief.job_ends()
      self.assertTrue(self._sign()["ends"])
    self._assert_has_left()

  def test_a_chief_that_is_killed_while_it_writes_is_still_known_to_the_next(self):
    with self.assertRaises(ZeroDivisionError):
      with heartbeat.beating(self._dir, "this") as first:
        first.job_ends()
        with _writing_ends_with(KeyboardInterrupt()):
          with self.assertRaises(KeyboardInterrupt):
            first._beat()
        _ = 1 / 0
    with heartbeat.beating(self._dir, "this") as later:
      self.assertTrue(later.was_ending)

  def test_who_leaves_and_cannot_say_so_leaves_no_sign(self):
    full = tf.errors.ResourceExhaustedError(None, None, "no space left")
    with self.assertLogs("absl", "WARNING"):
      with heartbeat.beating(self._dir, "this") as chief:
        chief.job_ends()
        self.enter_context(_writing_ends_with(full))
    self.assertEmpty(os.listdir(self._dir))

  def test_who_stood_still_while_another_came_and_left_is_not_the_last(self):
    with heartbeat.beating(self._dir, None) as first:
      left_behind = heartbeat.Sign.of(json.dumps(self._sign()))
      for _ in range(2):  # Each finds what the one before has left.
        with mock.patch.object(heartbeat, "_check_alone", return_value=left_behind):
          with heartbeat.beating(self._dir, None):
            pass
        self._assert_has_left()
        left_behind = heartbeat.Sign.of(json.dumps(self._sign()))
      first._beat()
      with self.assertRaisesRegex(RuntimeError, "another chief trains"):
        first.look()
      sign = self._sign()
    self.assertEqual(self._sign(), sign)
    self.assertEqual(sign["term"], 3)

  def test_nobody_waits_where_the_last_chief_has_left(self):
    self._beats_of_another(0)
    with heartbeat.beating(self._dir, "that"):
      pass
    with heartbeat.beating(self._dir, "this"):
      self.assertEqual(self._now, 0)

  def test_a_chief_that_leaves_while_it_is_looked_at_is_no_other(self):
    self._beats_of_another(1)
    with mock.patch.object(heartbeat, "_LOOK_SECS", 0.5):
      sleep = heartbeat.time.sleep

      def leave(seconds: float) -> None:
        sleep(seconds)
        self._write_sign(job="that", term=6, has_left=True)

      with mock.patch.object(heartbeat.time, "sleep", leave):
        with heartbeat.beating(self._dir, "this"):
          self.assertEqual(self._now, 0.5)
          self.assertEqual(self._sign()["term"], 7)

  @property
  def _file(self) -> str:
    return os.path.join(self._dir, "chief.alive")

  def _write_sign(self, **words) -> None:
    sign = dict(pid=1, time=0, job="", chief="a", term=1, ends=False, failures=[])
    with open(self._file, "w") as file:
      json.dump({**sign, **words}, file)

  def _assert_has_left(self) -> None:
    self.assertEqual(os.listdir(self._dir), ["chief.alive"])
    self.assertTrue(self._sign()["has_left"])

  def _sign(self) -> dict:
    with open(self._file) as file:
      return json.load(file)

  def _beats_of_another(self, count: int) -> None:
    """A chief of another job, and the folder at its `count`-th look."""
    os.makedirs(self._dir)
    looks = 0

    def sleep(seconds: float) -> None:
      nonlocal looks
      self._now += seconds
      looks += 1
      if looks <= count:
        self._write_sign(pid=4711, time=looks, job="that")

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
    self._assert_has_left()

  def test_a_chief_of_the_same_job_does_not_wait(self):
    self._beats_of_another(1)
    with heartbeat.beating(self._dir, "that"):
      self.assertEqual(self._now, 0)

  def test_who_is_killed_at_the_end_is_known_to_the_next(self):
    with heartbeat.beating(self._dir, "this") as first:
      self.assertFalse(first.was_ending)
      first.job_ends()
      with open(self._file) as f:
        left_behind = f.read()
    for job, was_ending in (("this", True), ("this", False), ("that", False)):
      if was_ending:
        with open(self._file, "w") as f:
          f.write(left_behind)
      with heartbeat.beating(self._dir, job) as later:
        self.assertEqual(later.was_ending, was_ending)

  def test_who_fails_at_the_end_is_known_to_the_next(self):
    for failures in ([], ["worker 1 failed: no such data"]):
      with self.assertRaises(ZeroDivisionError):
        with heartbeat.beating(self._dir, "this") as first:
          first.job_ends(failures)
          _ = 1 / 0
      # As long as nobody says that the job goes on it has ended.
      for _ in range(2):
        with self.assertRaises(ZeroDivisionError):
          with heartbeat.beating(self._dir, "this") as later:
            self.assertTrue(later.was_ending)
            self.assertSequenceEqual(later.failures, failures)
            _ = 1 / 0
      with self.assertRaises(ZeroDivisionError):
        with heartbeat.beating(self._dir, "this") as later:
          later.job_goes_on()
          _ = 1 / 0
      with heartbeat.beating(self._dir, "this") as later:
        self.assertFalse(later.was_ending)
        self.assertEmpty(later.failures)

  def test_of_two_chiefs_of_a_job_the_first_leaves(self):
    with heartbeat.beating(self._dir, "this") as first:
      first.look()
      with heartbeat.beating(self._dir, "this") as second:
        with self.assertRaisesRegex(RuntimeError, "another chief .*chief.alive"):
          first.look()
        with self.assertRaisesRegex(RuntimeError, "another chief"):
          first.check()
        first.job_ends()
        first.stop()
        second.look()
        self.assertFalse(self._sign()["has_left"], "the first has overwritten it")
    self._assert_has_left()

  def test_a_second_chief_is_noticed_at_a_beat(self):
    with (
      mock.patch.object(heartbeat, "_BEAT_SECS", 0.01),
      heartbeat.beating(self._dir, "this") as first,
    ):
      first.check()
      sign = self._sign()
      self._write_sign(job="this", chief="z", term=sign["term"] + 1)

      def is_noticed() -> bool:
        try:
          first.check()
        except RuntimeError:
          return True
        return False

      self._wait_until(is_noticed)

  def test_what_a_first_chief_still_writes_does_not_stop_the_second(self):
    with (
      mock.patch.object(heartbeat, "_BEAT_SECS", 0.01),
      heartbeat.beating(self._dir, "this") as second,
    ):
      term = self._sign()["term"]
      self._write_sign(job="this", chief="a", term=term - 1)
      self._wait_until(lambda: self._sign_or_none().get("term") == term)
      second.look()

  def test_one_of_two_that_begin_at_once_leaves(self):
    chiefs = []
    for _ in range(2):  # Neither sees the other.
      with mock.patch.object(heartbeat, "_read", return_value=""):
        chief = self.enter_context(heartbeat.beating(self._dir, None))
      chiefs.append(chief)
    chiefs[0]._beat()
    leave = []
    for chief in chiefs:
      chief._beat()
      try:
        chief.look()
      except RuntimeError:
        leave.append(chief)
    self.assertLen(leave, 1)

  def test_jobs_of_one_process_are_never_the_same(self):
    self.enter_context(mock.patch.object(heartbeat, "_BEAT_SECS", 0.5))
    with heartbeat.beating(self._dir, None):
      with self.assertRaisesRegex(RuntimeError, "another job trains"):
        with heartbeat.beating(self._dir, None):
          self.fail("it began")

  def _sign_or_none(self) -> dict:
    try:
      return self._sign()
    except ValueError:  # Just being written.
      return {}

  def _wait_until(self, condition) -> None:
    for _ in range(10_000):
      if condition():
        return
      heartbeat.threading.Event().wait(0.001)
    self.fail("it did not happen within 10 s")


if __name__ == "__main__":
  absltest.main()
