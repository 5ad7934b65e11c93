import threading
import time
from collections.abc import Callable
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training import job_exports
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)
from monolith.native_training.training.job_exports import JobExports


class JobExportsTest(absltest.TestCase):
  """Exports that are made to wait and to fail."""

  def setUp(self):
    super().setUp()
    self._exported: list[str] = []
    self._errors: dict[str, Exception] = {}
    self._may_end = threading.Event()
    self.addCleanup(self._may_end.set)
    self._exports = JobExports(self._export)

  def _export(self, path: str, is_given_up: Callable[[], bool]) -> None:
    del is_given_up
    self._may_end.wait()
    self._exported.append(path)
    if error := self._errors.get(path):
      raise error

  def _until_idle(self) -> None:
    self._may_end.set()
    while self._exports.in_use():
      time.sleep(0.01)

  def test_one_after_the_other_and_of_many_the_newest(self):
    for path in "abcd":
      self._exports.offer(path)
    self.assertEqual(self._exports.in_use(), {"a", "d"})
    self._until_idle()
    self._exports.offer("e")
    self._exports.finish()
    self.assertEqual(self._exported, ["a", "d", "e"])
    self.assertEmpty(self._exports.in_use())

  def test_without_anything_to_do(self):
    exports = JobExports(None)
    exports.offer("a")
    self.assertEmpty(exports.in_use())
    exports.report()
    exports.finish()
    exports.leave()

  def test_what_fails_is_told_and_the_next_one_exported(self):
    self._errors["a"] = OSError("no space left")
    self._errors["b"] = DamagedCheckpointError("a flipped bit")
    self._exports.offer("a")
    self._exports.offer("b")
    self._until_idle()
    with self.assertLogs("absl", "ERROR") as logs:
      self._exports.report()
    self.assertLen(logs.output, 2)
    self.assertRegex(logs.output[0], "a is saved, but it is NOT EXPORTED.*no space.*ON")
    self.assertRegex(logs.output[1], "b is saved, but it is NOT EXPORTED.*a flipped")
    self._exports.report()  # Once.
    with (
      self.assertLogs("absl", "ERROR") as logs,
      self.assertRaisesRegex(DamagedCheckpointError, "a flipped bit"),
    ):
      self._exports.finish()
    self.assertRegex(logs.output[0], r"b is saved, .* export_saved_model\(\) exports")
    self._exports.offer("c")
    self._exports.finish()
    self.assertEqual(self._exported, ["a", "b", "c"])

  def test_mistakes_end_training(self):
    self._errors["a"] = TypeError("of the model")
    self._exports.offer("a")
    self._until_idle()
    with self.assertRaisesRegex(TypeError, "of the model"):
      self._exports.report()

  def test_storage_is_no_server_that_is_away_and_no_end_of_data(self):
    for error in (tf.errors.UnavailableError, tf.errors.OutOfRangeError):
      self._errors["a"] = error(None, None, "storage is away")
      self._exports.offer("a")
      self._may_end.set()
      with self.assertRaisesRegex(StorageError, f"{error.__name__}: storage is away"):
        self._exports.finish()

  def test_one_that_hangs_is_told_of_again_and_again(self):
    with (
      mock.patch.object(job_exports, "_LONG_SECS", 0.0),
      mock.patch.object(job_exports, "_TELL_AGAIN_SECS", 0.0),
    ):
      self._exports.offer("a")
      for _ in range(2):
        with self.assertLogs("absl", "ERROR") as logs:
          self._exports.report()
        self.assertRegex(logs.output[0], "a is NOT EXPORTED YET after 0 min")
    with self.assertNoLogs("absl", "ERROR"):
      self._exports.offer("b")
      self._until_idle()
      self._exports.report()

  def test_one_that_cannot_begin_is_told_and_the_next_one_exported(self):
    full = RuntimeError("can't start new thread")
    with mock.patch.object(threading.Thread, "start", side_effect=full):
      self._exports.offer("a")
    self.assertEmpty(self._exports.in_use())
    with self.assertLogs("absl", "ERROR") as logs:
      self._exports.leave()
    self.assertIn("can't start new thread", logs.output[0])
    self._may_end.set()
    self._exports.offer("b")
    self._exports.finish()
    self.assertEqual(self._exported, ["b"])

  def test_who_leaves_waits_for_none_that_hangs(self):
    self._exports.offer("a")
    with (
      self.assertLogs("absl", "WARNING") as logs,
      mock.patch.object(job_exports, "_LEAVE_SECS", 0.1),
    ):
      self._exports.finish(lambda: True)
    self.assertIn("a is saved, but its export does not come to an end", logs.output[0])
    self._errors["a"] = TypeError("of the model")
    self._until_idle()
    with self.assertLogs("absl", "ERROR") as logs:
      self._exports.leave()
    self.assertIn("export_saved_model() exports it", logs.output[0])


if __name__ == "__main__":
  absltest.main()
