import os
import time
from unittest import mock

from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint, sound_checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
  StorageError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


def _refusing(*paths: str):
  def use(path: str) -> None:
    if path in paths:
      raise DamagedCheckpointError(f"{path} is truncated")

  return use


def _add(folder: str, step: int) -> None:
  path = checkpoint.path_of(folder, step)
  os.makedirs(checkpoint.tables_dir(path))
  checkpoint.write_manifest(path, Manifest(step, "save", [], [], 0))
  with open(path + ".index", "w"):
    pass


class SoundCheckpointTest(absltest.TestCase):
  def test_the_first_is_used_without_a_word(self):
    with self.assertNoLogs("absl"):
      used = sound_checkpoint.first_sound(["c", "b"], _refusing("b"))
    self.assertEqual(used, ("c", []))

  def test_what_is_refused_is_passed_over_loudly(self):
    with self.assertLogs("absl", "ERROR") as logs:
      used = sound_checkpoint.first_sound(["c", "b", "a"], _refusing("c", "b"))
    self.assertEqual(used, ("a", ["c", "b"]))
    self.assertLen(logs.output, 2)
    self.assertRegex(logs.output[0], "checkpoint c is PASSED OVER.*c is truncated")

  def test_where_all_are_refused_each_reason_is_given(self):
    with self.assertRaisesRegex(
      sound_checkpoint.AllRefusedError,
      "none of 2 checkpoints can be used: b is truncated; a is truncated",
    ):
      sound_checkpoint.first_sound(["b", "a"], _refusing("a", "b"))
    with self.assertRaisesRegex(ValueError, "^a is truncated$"):
      sound_checkpoint.first_sound(["a"], _refusing("a"))

  def test_other_errors_are_not_the_checkpoints(self):
    for error in (OSError("a"), MisfitError("a"), ValueError("a")):
      use = mock.Mock(side_effect=error)
      with self.assertRaises(type(error)):
        sound_checkpoint.first_sound(["b", "a"], use)
      use.assert_called_once_with("b")

  def test_storage_that_fails_is_tried_again_and_nothing_passed_over(self):
    fails = StorageError("b: try again later")
    with mock.patch.object(time, "sleep") as sleep:
      use = mock.Mock(side_effect=[fails, fails, None])
      with self.assertLogs("absl", "ERROR") as logs:
        self.assertEqual(sound_checkpoint.first_sound(["b", "a"], use).path, "b")
      self.assertRegex(logs.output[0], "try again later; checkpoint b is tried again")
      use = mock.Mock(side_effect=fails)
      with self.assertRaisesRegex(StorageError, "b: try again later"):
        sound_checkpoint.first_sound(["b", "a"], use)
      self.assertEqual(use.mock_calls, [mock.call("b")] * 4)
      self.assertLen(sleep.mock_calls, 5)

  def test_what_is_removed_meanwhile_is_no_reason_to_fail(self):
    folder = self.create_tempdir().full_path

    def find() -> list[str]:
      return checkpoint.checkpoints(folder)[::-1]

    def use(path: str) -> None:
      used.append(checkpoint.step_of(path))
      if used[-1] < last:
        _add(folder, used[-1] + 1)
        checkpoint.remove(path)
        raise DamagedCheckpointError(f"{path} has no manifest")

    _add(folder, 1)
    for last in (5, 1000):
      used = []
      with self.assertNoLogs("absl", "ERROR"):
        if last == 5:
          path = checkpoint.path_of(folder, last)
          self.assertEqual(sound_checkpoint.first_sound(find(), use, find), (path, []))
          self.assertEqual(used, [1, 2, 3, 4, 5])
        else:
          with self.assertRaisesRegex(ValueError, "ckpt-5 was removed before it was"):
            sound_checkpoint.first_sound(find(), use, find)

  def test_what_is_set_aside_counts_no_more(self):
    folder = self.create_tempdir().full_path
    for step in (10, 20):
      _add(folder, step)
    for _ in range(2):  # The second time there is nothing to rename.
      sound_checkpoint.set_aside([checkpoint.path_of(folder, 20)], keep=1)
    self.assertEqual(checkpoint.checkpoints(folder), [checkpoint.path_of(folder, 10)])
    self.assertIn("model.ckpt-20.refused.index", os.listdir(folder))

  def test_of_what_was_set_aside_the_newest_stay(self):
    folder = self.create_tempdir().full_path
    paths = [checkpoint.path_of(folder, step) for step in (9, 10, 100)]
    for path in paths:
      os.makedirs(checkpoint.tables_dir(path))
      open(path + ".index", "w").close()
    # What is left of one that could be removed in part only.
    open(checkpoint.path_of(folder, 3) + ".refused.data-00000-of-00001", "w").close()
    for path in (paths[2], paths[0], paths[1]):
      sound_checkpoint.set_aside([path], keep=2)
    self.assertCountEqual(
      os.listdir(folder),
      [
        f"model.ckpt-{step}.refused.{what}"
        for step in (10, 100)
        for what in ("tables", "index")
      ],
    )


if __name__ == "__main__":
  absltest.main()
