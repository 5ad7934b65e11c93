import contextlib
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_leftovers,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


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
    os.makedirs(os.path.join(self._dir, "model.ckpt-30.tables"))
    os.makedirs(os.path.join(self._dir, "model.ckpt-20_temp"))
    os.makedirs(os.path.join(self._dir, "model.ckpt-10_temp"))
    for name in (
      "model.ckpt-30.data-00001-of-00002",
      "model.ckpt-30.index.tempstate1234",
      "model.ckpt-10.index.tempstate1234",
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

  def test_checkpoints_of_tensorflows_saver_stay_and_are_named_once(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      variable = tf.compat.v1.get_variable("v", initializer=5.0, use_resource=True)
      session.run(variable.initializer)
      saver = tf.compat.v1.train.Saver()
      foreign = [
        saver.save(session, os.path.join(self._dir, "model.ckpt"), global_step=step)
        for step in (1000, 2000)
      ]
    # What it writes meanwhile.
    os.makedirs(os.path.join(self._dir, "model.ckpt-3000_temp"))
    with open(os.path.join(self._dir, "model.ckpt-3000.index.tempstate12"), "w"):
      pass
    self._add("model.ckpt-10", complete=True)
    before = self._names()
    self._add("model.ckpt-20", complete=False)
    with self.assertLogs("absl", "WARNING") as logs:
      checkpoint_leftovers.sweep(self._dir)
      for path in foreign:
        checkpoint_leftovers.remove_incomplete(path)
      checkpoint_leftovers.remove_leftovers(self._dir)
    self.assertEqual(self._names(), before)
    for path in foreign:
      self.assertEqual(tf.train.load_variable(path, "v"), 5.0)
    (warning,) = [line for line in logs.output if "another program" in line]
    self.assertRegex(
      warning,
      f"{self._dir} has .* left alone: those of model.ckpt-1000, model.ckpt-2000, "
      "model.ckpt-3000, beside",
    )
    # A save of ours takes none of their names.
    self.assertEqual(checkpoint.next_path(self._dir, 1000), foreign[0] + ".1")

  def test_what_is_ours_is_known_as_long_as_there_is_any_of_it(self):
    """Storage that fails, or a kill, at each removal there is."""
    error = tf.errors.PermissionDeniedError(None, None, "busy")
    removals = {"rmtree": tf.io.gfile.rmtree, "remove": tf.io.gfile.remove}
    for remove, complete in (
      (checkpoint.remove, True),
      (checkpoint_leftovers.remove_incomplete, False),
    ):
      for fails_at in range(4):
        path = self._add("model.ckpt-20", complete)
        counts = iter(range(100))

        def fail(name, act, counts=counts, fails_at=fails_at):
          if next(counts) == fails_at:
            raise error
          removals[act](name)

        with contextlib.ExitStack() as stack:
          for act in removals:
            stack.enter_context(
              mock.patch.object(tf.io.gfile, act, lambda name, act=act: fail(name, act))
            )
          with contextlib.suppress(tf.errors.PermissionDeniedError):
            remove(path)
        if self._names():
          self.assertTrue(os.path.isdir(path + ".tables"), self._names())
        if not checkpoint.is_complete(path):
          checkpoint_leftovers.sweep(self._dir)
          self.assertEmpty(self._names())
        checkpoint.remove(path)

  def test_a_step_that_was_saved_again_is_there_until_one_was_restored(self):
    paths = [
      self._add(name, complete=True) for name in ("model.ckpt-10", "model.ckpt-10.1")
    ]
    checkpoint_leftovers.sweep(self._dir)
    self.assertEqual(checkpoint.checkpoints(self._dir), paths)

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
    self.assertRegex(" ".join(logs.output), "ckpt-20.index cannot be removed: read-")
    # It tells whose the others are.
    self.assertNotRegex(" ".join(logs.output), "removing [^ ]*.tables")


if __name__ == "__main__":
  absltest.main()
