import os
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  OtherSaverError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest
from monolith.native_training.training.checkpoints.save_policy import SavePolicy
from monolith.native_training.training.job_start import JobStart
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.session import Beginning


class JobStartTest(absltest.TestCase):
  """Chiefs that begin with the model that the servers hold."""

  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._checkpointer = mock.Mock()
    self._on_begin = mock.Mock()
    self._policy: SavePolicy

  def _save(self, step: int, secs_ago: int) -> str:
    path = checkpoint.path_of(self._dir, step)
    os.makedirs(checkpoint.tables_dir(path))
    saved_at = int(time.time()) - secs_ago
    content = Manifest(step, f"save {step}", [], [], 0, saved_at=saved_at)
    checkpoint.write_manifest(path, content)
    return path

  def _begin(self, step: int, **saves) -> None:
    """A chief that was started again, when the live model is of a step."""
    config = RunnerConfig(tf_config="", model_dir=self._dir, **saves)
    self._policy = SavePolicy(config, MonolithModel.params())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      global_step = tf.compat.v1.train.get_or_create_global_step()
      start = JobStart(
        self._dir,
        3,
        None,
        self._checkpointer,
        mock.Mock(),
        self._policy,
        mock.Mock(),
        self._on_begin,
      )
      session.run(global_step.initializer)
      session.run(global_step.assign(step))
      start.begin(session, Beginning(is_live=True), None, None)
      # A connection that was lost is not another chief.
      start.begin(session, Beginning(is_live=True), None, None)

  def test_steps_are_counted_from_the_last_checkpoint(self):
    self._save(100, 0)
    self._save(200, 0)
    self._begin(280, save_checkpoints_steps=100)
    self.assertFalse(self._policy.is_due(299))
    self.assertTrue(self._policy.is_due(300))

  def test_what_it_goes_on_from_is_told_once(self):
    self._begin(280)
    self._on_begin.assert_not_called()
    self._save(100, 0)
    path = self._save(200, 0)
    self._begin(280)
    self._on_begin.assert_called_once_with(path)

  def test_time_is_counted_from_the_last_checkpoint(self):
    self._save(200, 500)
    self._begin(280, save_checkpoints_secs=1000)
    self.assertFalse(self._policy.is_due(281))
    self._begin(280, save_checkpoints_secs=400)
    self.assertTrue(self._policy.is_due(281))

  def test_where_nothing_is_saved_all_counts(self):
    self._begin(280, save_checkpoints_steps=300)
    self.assertFalse(self._policy.is_due(299))
    self.assertTrue(self._policy.is_due(300))
    self._begin(280, save_checkpoints_secs=1000)
    self.assertTrue(self._policy.is_due(281))

  def test_a_manifest_that_cannot_be_read_is_no_hindrance(self):
    path = self._save(200, 0)
    with open(os.path.join(checkpoint.tables_dir(path), "manifest.json"), "w"):
      pass
    self._begin(280, save_checkpoints_secs=1000)
    self.assertTrue(self._policy.is_due(281))

  def test_what_is_newer_than_the_model_is_left_alone(self):
    self._save(200, 0)
    other = self._save(300, 5000)
    with self.assertRaisesRegex(OtherSaverError, f"{other} is newer than step 280"):
      self._begin(280, save_checkpoints_steps=100)
    self._checkpointer.refused.assert_not_called()


if __name__ == "__main__":
  absltest.main()
