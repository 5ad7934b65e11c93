import os
import threading
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import job_saves
from monolith.native_training.training.checkpoints import checkpoint, save_policy
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  OtherSaverError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest
from monolith.native_training.training.job_exports import JobExports
from monolith.native_training.training.job_saves import JobSaves
from monolith.native_training.training.runner_config import RunnerConfig


class JobSavesTest(absltest.TestCase):
  """A checkpointer that can be made to fail, and a session of which nothing is run."""

  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._session = self.enter_context(tf.compat.v1.Session(graph=tf.Graph()))
    self._progress = mock.Mock()
    self._checkpointer = mock.Mock()
    self._checkpointer.save.side_effect = self._write
    self._checkpointer.table_stats.return_value = {"user": (3, 300)}
    self._error: Exception | None = None
    self._urgent: list[bool] = []
    self._may_end = threading.Event()
    self._may_end.set()
    self.addCleanup(self._may_end.set)

  def _write(self, session, model_dir: str, step: int, check, is_urgent) -> str:
    self._may_end.wait()
    self._urgent.append(is_urgent())
    check()
    path = checkpoint.path_of(model_dir, step)
    os.makedirs(checkpoint.tables_dir(path), exist_ok=True)
    if self._error:
      raise self._error
    checkpoint.write_manifest(path, Manifest(step, "save", [], [], 0))
    return path

  def _saves(
    self,
    export=None,
    every_steps: int | None = 10,
    every_secs=None,
    streams=None,
    reports=None,
  ) -> JobSaves:
    config = RunnerConfig(
      tf_config="",
      model_dir=self._dir,
      save_checkpoints_steps=every_steps,
      save_checkpoints_secs=every_secs,
    )
    self._exports = JobExports(export and (lambda path, _: export(path)))
    eviction = mock.Mock()
    eviction.run.return_value = {"user": 1}
    return JobSaves(
      config,
      MonolithModel.params(),
      self._checkpointer,
      eviction,
      self._exports,
      streams,
      reports,
    )

  def _clock(self) -> mock.Mock:
    """What `job_saves` has for `time` from now on: it stands still."""
    clock = mock.Mock(time, wraps=time)
    clock.monotonic.return_value = time.monotonic()
    self.enter_context(mock.patch.object(job_saves, "time", clock))
    return clock

  def _steps(self) -> list[int]:
    return [checkpoint.step_of(path) for path in checkpoint.checkpoints(self._dir)]

  def _step_done(self, saves: JobSaves, step: int, session=None) -> None:
    """A step, and the end of the save that it begins, if it does."""
    saves.step_done(session or self._session, step, self._progress)
    saves.wait()

  def test_training_goes_on_beside_it(self):
    exported = []
    saves = self._saves(exported.append)
    self._may_end.clear()
    for step in range(1, 35):
      saves.step_done(self._session, step, self._progress)
    self.assertEmpty(self._steps())
    self._may_end.set()
    saves.wait()
    self._progress.tables.assert_not_called()
    # It is reported by the thread of the steps, and then the next one is due.
    self._step_done(saves, 35)
    self._progress.tables.assert_called_once_with(10, {"user": (3, 300)})
    self._progress.evicted.assert_called_once_with(10, {"user": 1})
    self._exports.finish()
    self.assertEqual(self._steps(), [10, 35])
    self.assertEqual(
      exported, [checkpoint.path_of(self._dir, step) for step in (10, 35)]
    )

  def test_a_stream_that_brings_nothing_is_not_saved_again(self):
    streams = mock.Mock()
    streams.is_saved.return_value = True
    saves = self._saves(every_steps=None, every_secs=1e-3, streams=streams)
    self._step_done(saves, 5)
    for _ in range(3):
      time.sleep(2e-3)
      self._step_done(saves, 5)
    self.assertEqual(self._steps(), [5])
    self._checkpointer.save.assert_called_once()
    # The step is the same, but not all of it was in the checkpoint.
    self._checkpointer.save.side_effect = None
    streams.is_saved.return_value = False
    time.sleep(2e-3)
    self._step_done(saves, 5)
    self.assertEqual(self._checkpointer.save.call_count, 2)

  def test_it_covers_all_that_this_process_has_trained_on_of_streams(self):
    streams = mock.Mock()
    self._checkpointer.save.side_effect = streams.rows_are_written
    saves = self._saves(streams=streams)
    self._step_done(saves, 1)
    self.assertEmpty(streams.mock_calls)
    self._step_done(saves, 10)
    self.assertEqual(
      [call[0] for call in streams.mock_calls], ["write", "read", "rows_are_written"]
    )

  def test_a_server_that_leaves_still_does_where_another_is_away(self):
    reports = mock.MagicMock(has_leaving_servers=True)
    streams = mock.Mock()
    streams.write.side_effect = tf.errors.UnavailableError(None, None, "away")
    saves = self._saves(reports=reports, streams=streams)
    with self.assertRaises(tf.errors.UnavailableError):
      self._step_done(saves, 1)
    reports.take_leaving_servers.assert_not_called()
    streams.write.side_effect = None
    reports.take_leaving_servers.return_value = frozenset([1])
    self._step_done(saves, 2)
    saves.report(self._session, self._progress)
    reports.let_leave.assert_called_once_with(self._session, frozenset([1]))

  def test_a_server_that_leaves_is_saved_for_at_once(self):
    reports = mock.MagicMock(has_leaving_servers=False)
    saves = self._saves(reports=reports, every_steps=1000)
    self.enter_context(mock.patch.object(job_saves, "_SERVER_RETRY_SECS", 600.0))
    self._step_done(saves, 1)
    self.assertEmpty(self._steps())
    reports.has_leaving_servers = True
    reports.take_leaving_servers.return_value = frozenset([1])
    self._error = OSError("no space left")
    self._step_done(saves, 2)
    reports.has_leaving_servers = False
    with self.assertLogs("absl", "ERROR"):
      self._step_done(saves, 3)
    reports.let_leave.assert_not_called()
    reports.keep_leaving.assert_called_once_with(frozenset([1]))
    self._error = None
    reports.has_leaving_servers = True
    self._step_done(saves, 4)  # Not at once.
    self.assertEmpty(self._steps())
    saves._servers_wait_until = 0.0
    self._step_done(saves, 4)
    reports.has_leaving_servers = False
    self._step_done(saves, 5)
    self.assertEqual(self._steps(), [4])
    reports.let_leave.assert_called_once_with(self._session, frozenset([1]))
    self.assertLen(reports.saving.mock_calls, 6)  # With entering and leaving.

  def test_only_those_that_somebody_waits_for_are_urgent(self):
    reports = mock.MagicMock(has_leaving_servers=False)
    saves = self._saves(reports=reports)
    self._step_done(saves, 10)
    reports.has_leaving_servers = True
    reports.take_leaving_servers.return_value = frozenset([1])
    self._step_done(saves, 12)
    reports.has_leaving_servers = False
    self._step_done(saves, 13)
    saves.save_now(self._session, 14, self._progress)
    self._save_last(saves)
    self.assertEqual(self._urgent, [False, True, True, True])
    self._checkpointer.hurry.assert_not_called()

  def test_one_that_is_running_hurries_when_somebody_waits(self):
    reports = mock.MagicMock(has_leaving_servers=False)
    reports.take_leaving_servers.return_value = frozenset([1])
    saves = self._saves(reports=reports)
    self.enter_context(mock.patch.object(job_saves, "_HURRY_AGAIN_SECS", 600.0))
    self._checkpointer.hurry.side_effect = tf.errors.UnavailableError(None, None, "")
    self._may_end.clear()
    saves.step_done(self._session, 10, self._progress)
    saves.step_done(self._session, 11, self._progress)
    self._checkpointer.hurry.assert_not_called()
    reports.has_leaving_servers = True
    for step in (12, 13):
      saves.step_done(self._session, step, self._progress)
      self._checkpointer.hurry.assert_called_once_with(self._session)
    # Servers may not have begun it by then.
    saves._background.current.hurry_at = 0.0
    saves.step_done(self._session, 14, self._progress)
    self.assertLen(self._checkpointer.hurry.mock_calls, 2)
    self._may_end.set()
    saves.wait()
    reports.has_leaving_servers = False
    self._may_end.clear()
    saves.step_done(self._session, 30, self._progress)
    self._checkpointer.hurry.side_effect = lambda _: self._may_end.set()
    saves.save_now(self._session, 31, self._progress)
    self.assertLen(self._checkpointer.hurry.mock_calls, 3)
    self.assertEqual(self._steps(), [10, 30, 31])

  def test_what_fails_is_said_and_tried_again(self):
    saves = self._saves()
    self._step_done(saves, 10)
    self._error = tf.errors.ResourceExhaustedError(None, None, "no space left")
    self._step_done(saves, 20)
    with self.assertLogs("absl", "ERROR") as logs:
      self._step_done(saves, 21)
    self.assertRegex(
      logs.output[0],
      "checkpoint of step 20 was NOT SAVED: ResourceExhaustedError: no space left. "
      "TRAINING GOES ON, the last checkpoint is still .*ckpt-10, and saving is tried "
      "again in 10 steps or 60 s",
    )
    self._error = None
    self._step_done(saves, 22)
    self.assertEqual(self._steps(), [10])
    with mock.patch.object(saves.policy, "_failed_at", 0.0):
      self._step_done(saves, 30)
    self.assertEqual(self._steps(), [10, 30])

  def test_a_session_that_was_lost_is_no_error(self):
    saves = self._saves()
    for error in (
      tf.errors.UnavailableError(None, None, "gone"),
      RuntimeError("Attempted to use a closed Session."),
    ):
      self._error = error
      saves.policy.begin(0)
      self._step_done(saves, 10)
      other = mock.Mock()
      with self.assertLogs("absl", "WARNING") as logs:
        saves.report(other, self._progress)
      self.assertRegex(logs.output[0], "^WARNING.*no checkpoint: a parameter server")
      # At once.
      self.assertTrue(saves.policy.is_due(11))

  def test_no_save_waits_for_an_export(self):
    exported, may_end = [], threading.Event()
    self.addCleanup(may_end.set)

    def export(path: str) -> None:
      may_end.wait()
      exported.append(path)

    reports = mock.MagicMock(has_leaving_servers=False)
    saves = self._saves(export, reports=reports)
    for step in (10, 20):
      self._step_done(saves, step)
      saves.report(self._session, self._progress)
    reports.has_leaving_servers = True
    reports.take_leaving_servers.return_value = frozenset([1])
    self._step_done(saves, 21)
    reports.has_leaving_servers = False
    self._step_done(saves, 22)
    reports.let_leave.assert_called_once_with(self._session, frozenset([1]))
    self.assertEqual(self._steps(), [10, 20, 21])
    first, _, last = checkpoint.checkpoints(self._dir)
    self.assertEqual(self._exports.in_use(), {first, last})
    may_end.set()
    self._exports.finish()
    self.assertEqual(exported, [first, last])

  def test_what_an_export_raises_is_reported_with_the_saves(self):
    saves = self._saves(mock.Mock(side_effect=TypeError("of the model")))
    self._step_done(saves, 10)
    while self._exports.in_use():
      time.sleep(0.01)
    with self.assertRaisesRegex(TypeError, "of the model"):
      self._step_done(saves, 11)

  def test_one_that_is_asked_for_waits_and_fails_aloud(self):
    saves = self._saves()
    self._may_end.clear()
    saves.step_done(self._session, 10, self._progress)
    self._checkpointer.hurry.side_effect = lambda _: self._may_end.set()
    saves.save_now(self._session, 12, self._progress)
    self.assertEqual(self._steps(), [10, 12])
    self._error = OSError("no space left")
    with self.assertRaisesRegex(OSError, "no space"):
      saves.save_now(self._session, 13, self._progress)
    self.assertEqual(self._steps(), [10, 12])

  def test_who_is_to_leave_does_so_without_an_export(self):
    streams = mock.Mock()
    for error in (OSError("no space left"), TypeError("of the model")):
      saves = self._saves(mock.Mock(side_effect=error), streams=streams)
      with self.assertLogs("absl", "ERROR") as logs:
        saves.save_now(self._session, 12, self._progress)
      self.assertRegex(
        logs.output[0], f"ckpt-12 is saved, but it is NOT EXPORTED.*{error}"
      )
    self.assertEqual(self._steps(), [12])
    self.assertLen(streams.saved.mock_calls, 2)

  def test_what_an_export_raised_before_does_not_keep_the_last_save_away(self):
    saves = self._saves(mock.Mock(side_effect=TypeError("of the model")))
    self._step_done(saves, 10)
    while self._exports.in_use():
      time.sleep(0.01)
    with self.assertLogs("absl", "ERROR"):
      saves.save_now(self._session, 15, self._progress)
    self.assertEqual(self._steps(), [10, 15])

  def _save_last(self, saves: JobSaves, is_to_leave=lambda: False) -> bool:
    return saves.save_last(self._session, 12, self._progress, is_to_leave)

  def test_the_last_one_is_tried_again(self):
    saves = self._saves(every_secs=1e-3, every_steps=None)
    self._error = tf.errors.ResourceExhaustedError(None, None, "no space left")
    self.enter_context(mock.patch.object(save_policy, "_SHORTEST_RETRY_SECS", 0.05))

    def write(*args, **kwargs) -> str:
      if self._checkpointer.save.call_count == 3:
        self._error = None
      return self._write(*args, **kwargs)

    self._checkpointer.save.side_effect = write
    with self.assertLogs("absl", "ERROR") as logs:
      self.assertTrue(self._save_last(saves))
    self.assertRegex(
      logs.output[0],
      "step 12 was NOT SAVED: ResourceExhaustedError: no space left. ALL IS TRAINED, "
      "and this is the last one. The one before is none, and saving is tried again in",
    )
    self.assertLen(logs.output, 2)
    self.assertEqual(self._steps(), [12])

  def test_the_last_one_fails_when_it_was_tried_for_long(self):
    saves = self._saves(every_secs=1e-3, every_steps=None)
    self._error = OSError("no space left")
    self.enter_context(mock.patch.object(save_policy, "_SHORTEST_RETRY_SECS", 0.05))
    clock = self._clock()

    def write(*args, **kwargs) -> str:
      clock.monotonic.return_value += job_saves._LAST_SAVE_SECS * 2 / 3
      return self._write(*args, **kwargs)

    self._checkpointer.save.side_effect = write
    with self.assertRaisesRegex(OSError, "no space"):
      self._save_last(saves)
    self.assertEqual(self._checkpointer.save.call_count, 2)

  def test_the_last_one_is_not_tried_again_by_who_is_to_leave(self):
    saves = self._saves()
    self._error = OSError("no space left")
    self.assertFalse(self._save_last(saves, lambda: True))

  def test_the_last_one_is_tried_once_where_no_storage_is_to_blame(self):
    saves = self._saves()
    for error in (RuntimeError("wrong"), tf.errors.AbortedError(None, None, "gone")):
      self._error = error
      with self.assertRaises(type(error)):
        self._save_last(saves)

  def test_a_save_that_hangs_is_told_of_and_given_up_by_who_leaves(self):
    saves = self._saves()
    self._step_done(saves, 10)
    self._may_end.clear()
    clock = self._clock()
    told = "step 20 is NOT SAVED YET after .*storage may hang.*saved is .*ckpt-10"
    with self.assertNoLogs("absl", "ERROR"):
      saves.step_done(self._session, 20, self._progress)
      began_at = saves._background.current.began_at
      clock.monotonic.return_value = began_at + job_saves._LONG_SECS - 1
      saves.step_done(self._session, 21, self._progress)
    clock.monotonic.return_value += 2
    for step in (22, 23):
      with self.assertLogs("absl", "ERROR") as logs:
        saves.step_done(self._session, step, self._progress)
        clock.monotonic.return_value += job_saves._TELL_AGAIN_SECS - 1
        saves.step_done(self._session, step, self._progress)
      self.assertLen(logs.output, 1)
      self.assertRegex(logs.output[0], told)
      clock.monotonic.return_value += 2

    wait = saves._background.wait

    def wait_and_pass_time(secs: float) -> None:
      wait(secs)
      clock.monotonic.return_value += secs

    self.enter_context(mock.patch.object(saves._background, "wait", wait_and_pass_time))
    with self.assertLogs("absl", "ERROR") as logs:
      saves.wait(0.5)
    self.assertLen(logs.output, 1)
    self.assertRegex(logs.output[0], told)
    clock.monotonic.return_value = began_at + job_saves._HANGS_SECS + 1
    for save in (saves.save_now, lambda *args: saves.save_last(*args, lambda: True)):
      with self.assertRaisesRegex(TimeoutError, "step 20 is NOT SAVED YET .* may hang"):
        save(self._session, 24, self._progress)

    def nobody_asks() -> bool:
      self._may_end.set()
      return False

    self.assertTrue(self._save_last(saves, nobody_asks))
    self.assertEqual(self._steps(), [10, 12, 20])

  def test_nothing_is_saved_where_another_chief_has_begun(self):
    saves = self._saves()
    chief = mock.Mock()
    saves.guard_by(chief)
    self._step_done(saves, 10)
    chief.look.side_effect = [None, RuntimeError("another chief")]
    self._step_done(saves, 20)  # It comes in the middle of this.
    chief.check.side_effect = RuntimeError("another chief")
    for _ in range(2):
      with self.assertRaisesRegex(RuntimeError, "another chief"):
        self._step_done(saves, 30)
    self.assertEqual(self._steps(), [10])

  def test_training_ends_where_another_process_saves(self):
    saves = self._saves()
    self._error = OtherSaverError("another process trains")
    self._step_done(saves, 10)
    with self.assertRaisesRegex(OtherSaverError, "another process"):
      self._step_done(saves, 11)

  def test_a_server_that_dies_behind_the_last_one_does_not_undo_it(self):
    saves = self._saves()
    gone = tf.errors.UnavailableError(None, None, "gone")
    self._checkpointer.table_stats.side_effect = gone
    saves.save_now(self._session, 12, self._progress)
    self.assertEqual(self._steps(), [12])
    self._progress.tables.assert_not_called()

  def test_an_error_of_a_step_does_not_wait_for_long(self):
    saves = self._saves()
    self._may_end.clear()
    with (
      mock.patch("monolith.native_training.training.job_saves._LEAVE_SECS", 0.1),
      self.assertRaisesRegex(ValueError, "of a step"),
      saves.beside_training(),
    ):
      saves.step_done(self._session, 10, self._progress)
      raise ValueError("of a step")


if __name__ == "__main__":
  absltest.main()
