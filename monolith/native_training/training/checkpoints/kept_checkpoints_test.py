import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  OtherSaverError,
)
from monolith.native_training.training.checkpoints.kept_checkpoints import (
  KeptCheckpoints,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


class KeptCheckpointsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _add(self, step: int, base: int | None = None) -> str:
    path = checkpoint.path_of(self._dir, step)
    os.makedirs(checkpoint.tables_dir(path))
    open(path + ".index", "w").close()
    content = Manifest(step, f"save {step}", [], [], 0)
    if base:
      content.base, content.base_save_id = f"model.ckpt-{base}", f"save {base}"
    checkpoint.write_manifest(path, content)
    return path

  def _steps(self) -> list[int]:
    return [checkpoint.step_of(path) for path in checkpoint.checkpoints(self._dir)]

  def _latest_for_tensorflow(self) -> str:
    return os.path.basename(tf.train.latest_checkpoint(self._dir))

  def test_one_that_is_gone_again_is_an_error_of_storage(self):
    path = self._add(60)
    checkpoint.remove(path)
    with self.assertRaisesRegex(OSError, "model.ckpt-60 is not there any more"):
      KeptCheckpoints(1).saved(path)

  def test_a_refused_one_that_cannot_be_set_aside_displaces_no_sound_one(self):
    for max_to_keep, kept in ((1, [(70,), (90,)]), (2, [(60, 70), (70, 90)])):
      checkpoints = KeptCheckpoints(max_to_keep)
      self._add(60)
      refused = [self._add(80), self._add(100)]
      checkpoints.refused(refused)
      error = tf.errors.PermissionDeniedError(None, None, "busy")
      with (
        mock.patch.object(checkpoint, "rename", side_effect=error),
        self.assertLogs("absl", "WARNING") as logs,
      ):
        # The second is saved between the two that training has gone back behind.
        for step, sound in zip((70, 90), kept, strict=True):
          checkpoints.saved(self._add(step))
          self.assertEqual(self._steps(), sorted([*sound, 80, 100]))
          self.assertEqual(self._latest_for_tensorflow(), f"model.ckpt-{step}")
      self.assertRegex(logs.output[-1], "ckpt-100 cannot be renamed .*busy")
      checkpoints.saved(self._add(95))
      self.assertEqual(self._steps(), [*kept[1], 95][-max_to_keep:])
      self.assertTrue(os.path.exists(refused[-1] + ".refused.index"))
      for path in checkpoint.checkpoints(self._dir):
        checkpoint.remove(path)
      for path in refused:
        checkpoint.remove(path + ".refused")

  def test_what_was_just_saved_stays_with_what_it_is_made_from(self):
    checkpoints = KeptCheckpoints(1)
    checkpoints.saved(self._add(10))
    checkpoints.saved(self._add(20, base=10))
    checkpoints.refused([self._add(99)])
    with mock.patch.object(checkpoint, "rename", side_effect=OSError("busy")):
      checkpoints.saved(self._add(30, base=20))
    self.assertEqual(self._steps(), [10, 20, 30, 99])

  def test_what_is_in_use_stays_with_what_it_is_made_from(self):
    in_use = []
    checkpoints = KeptCheckpoints(1, lambda: in_use)
    self._add(10)
    in_use.append(self._add(20, base=10))
    for step in (30, 40):
      checkpoints.saved(self._add(step))
    self.assertEqual(self._steps(), [10, 20, 40])
    in_use[:] = [checkpoint.path_of(self._dir, 5)]  # One that is gone.
    checkpoints.saved(self._add(50))
    self.assertEqual(self._steps(), [50])

  def test_who_has_stood_still_touches_nothing_of_another(self):
    checkpoints = KeptCheckpoints(1)
    self._add(10)
    path = self._add(20)
    checkpoints.refused([self._add(30)])
    left = sorted(os.listdir(self._dir))
    another = RuntimeError("another chief trains")
    for looks in (0, 1, 2):
      check = mock.Mock(side_effect=[None] * looks + [another])
      with self.assertRaisesRegex(RuntimeError, "another chief"):
        checkpoints.saved(path if looks < 2 else self._add(40), check)
      if looks < 2:
        self.assertEqual(sorted(os.listdir(self._dir)), left)
    self.assertTrue(checkpoint.is_complete(checkpoint.path_of(self._dir, 10)))

  def test_what_another_has_saved_since_is_left_alone(self):
    checkpoints = KeptCheckpoints(1)
    checkpoints.saved(self._add(10))
    path = self._add(20)
    other = self._add(30)
    left = sorted(os.listdir(self._dir))
    for use in (checkpoints.saved, checkpoints.check_alone):
      with self.assertRaisesRegex(
        OtherSaverError, f"another process trains, .*: {other} is newer"
      ):
        use(path)
    self.assertEqual(sorted(os.listdir(self._dir)), left)

  def test_what_was_saved_before_training_went_back_is_set_aside(self):
    checkpoints = KeptCheckpoints(2)
    checkpoints.saved(self._add(20))
    path = checkpoint.path_of(self._dir, 10)
    checkpoints.check_alone(path)
    checkpoints.saved(self._add(10))
    self.assertEqual(self._steps(), [10])
    self.assertIn("model.ckpt-20.refused.index", os.listdir(self._dir))

  def test_what_cannot_be_removed_goes_with_the_next_one(self):
    checkpoints = KeptCheckpoints(1)
    older = [self._add(10), self._add(20)]
    error = tf.errors.PermissionDeniedError(None, None, "busy")
    with (
      mock.patch.object(tf.io.gfile, "rmtree", side_effect=error),
      self.assertRaisesRegex(tf.errors.PermissionDeniedError, "busy"),
    ):
      checkpoints.saved(self._add(30))
    self.assertEqual(self._steps(), [30])  # The others are none any more.
    for path in older:
      self.assertTrue(os.path.exists(path + ".tables"))
    self._add(40)
    checkpoints.saved(checkpoint.path_of(self._dir, 40))
    self.assertCountEqual(
      os.listdir(self._dir),
      ["checkpoint", "model.ckpt-40.index", "model.ckpt-40.tables"],
    )

  def test_none_is_there_without_what_it_is_made_from(self):
    checkpoints = KeptCheckpoints(1)
    for step, base in ((10, None), (20, 10), (30, 20)):
      checkpoints.saved(self._add(step, base))
    path = self._add(40)
    remove, removed = checkpoint.remove, []

    def look(path: str) -> None:
      for each in checkpoint.checkpoints(self._dir):
        checkpoint.chain(each)
      remove(path)
      removed.append(checkpoint.step_of(path))

    with mock.patch.object(checkpoint, "remove", look):
      checkpoints.saved(path)
    self.assertCountEqual(removed, [10, 20, 30])


if __name__ == "__main__":
  absltest.main()
