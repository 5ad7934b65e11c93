import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training import checkpoint, checkpoint_leftovers
from monolith.native_training.training.manifest import Manifest


class CheckpointLeftoversTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _add(self, name: str, complete: bool, rows: int = 1) -> str:
    """What a save of that name has written."""
    path = os.path.join(self._dir, name)
    os.makedirs(path + ".tables")
    for file in (".tables/part-00000-of-00001", ".index", ".data-00000-of-00001"):
      with open(path + file, "w") as f:
        f.write(f"{rows} rows")
    if complete:
      checkpoint.write_manifest(path, Manifest(1, "save", [], [], rows))
    return path

  def _names(self) -> list[str]:
    return sorted(os.listdir(self._dir))

  def test_what_has_no_manifest_goes(self):
    self._add("model.ckpt-10", complete=True)
    before = self._names()
    self._add("model.ckpt-20", complete=False)
    self._add("model.ckpt-10.1", complete=False)
    os.makedirs(os.path.join(self._dir, "model.ckpt-20_temp"))
    os.makedirs(os.path.join(self._dir, "model.ckpt-10_temp"))
    for name in (
      "model.ckpt-30.data-00001-of-00002",
      "model.ckpt-30.index.tempstate1234",
    ):
      with open(os.path.join(self._dir, name), "w"):
        pass
    checkpoint_leftovers.sweep(self._dir)
    self.assertEqual(self._names(), before)

  def test_what_is_not_ours_stays(self):
    for name in ("model.ckpt-20.refused.index", "my-model.ckpt-5.index", "checkpoint"):
      with open(os.path.join(self._dir, name), "w"):
        pass
    # The name of a folder of ours.
    with open(os.path.join(self._dir, "model.ckpt-7.tables"), "w"):
      pass
    os.makedirs(os.path.join(self._dir, "exported_models"))
    before = self._names()
    checkpoint_leftovers.sweep(self._dir)
    checkpoint_leftovers.sweep(os.path.join(self._dir, "nowhere"))
    self.assertEqual(self._names(), before)

  def test_a_step_that_was_saved_again_is_there_once(self):
    self._add("model.ckpt-10", complete=True, rows=1)
    path = self._add("model.ckpt-10.1", complete=True, rows=2)
    checkpoint_leftovers.sweep(self._dir)
    self.assertEqual(checkpoint.checkpoints(self._dir), [path])
    self.assertLen(self._names(), 3)
    self.assertEqual(checkpoint.read_manifest(path).rows, 2)

  def test_only_one_save(self):
    self._add("model.ckpt-10", complete=True)
    before = self._names()
    failed = self._add("model.ckpt-20", complete=False)
    other = self._add("model.ckpt-30", complete=False)
    checkpoint_leftovers.remove_incomplete(failed)
    checkpoint_leftovers.remove_incomplete(os.path.join(self._dir, "model.ckpt-10"))
    self.assertTrue(os.path.exists(other + ".index"))
    checkpoint_leftovers.remove_incomplete(other)
    self.assertEqual(self._names(), before)

  def test_what_cannot_be_removed_is_said(self):
    self._add("model.ckpt-20", complete=False)
    error = tf.errors.PermissionDeniedError(None, None, "read-only")
    with (
      mock.patch.object(tf.io.gfile, "rmtree", side_effect=error),
      mock.patch.object(tf.io.gfile, "remove", side_effect=error),
      self.assertLogs("absl", "WARNING") as logs,
    ):
      checkpoint_leftovers.sweep(self._dir)
    self.assertRegex(" ".join(logs.output), "ckpt-20.tables cannot be removed: read-")


if __name__ == "__main__":
  absltest.main()
