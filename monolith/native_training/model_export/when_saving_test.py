"""Exports of the checkpoints that training saves."""

import json
import os
import shutil
import signal
import threading
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.model_export import exported_checkpoint, saved_model
from monolith.native_training.model_export.abandonment import (
  Abandonment,
  ExportAbandonedError,
)
from monolith.native_training.model_export.popularity import (
  Popularity,
  PopularityWithItems,
)
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)
from monolith.native_training.training.processes.stop_request import StopRequest


class Endless(Popularity):
  def input_fn(self, mode):
    return super().input_fn(mode).repeat()


class WhenSavingTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self.job = self._job()

  def _job(self, model: type[Popularity] = Popularity, **config) -> Estimator:
    params = model.params()
    params.serving.export_when_saving = True
    return Estimator(
      params,
      RunnerConfig(model_dir=self._dir, save_checkpoints_steps=10, **config),
    )

  def _exports(self) -> list[str]:
    folder = os.path.join(self._dir, "exported_models")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))

  def _exported_steps(self) -> list[int]:
    steps = []
    for path in self._exports():
      with open(f"{path}/checkpoint.json") as file:
        steps.append(json.load(file)["global_step"])
    return steps

  def test_every_checkpoint_is_exported(self):
    self.job.train(max_steps=20)
    self.assertEqual(self._exported_steps(), [10, 20])
    base = os.path.dirname(self._exports()[0])
    for path in checkpoint.checkpoints(self._dir):
      self.assertTrue(exported_checkpoint.is_exported(path, base))

  def test_what_was_killed_before_it_was_exported_is_exported_by_the_next(self):
    self.job.train(max_steps=20)
    shutil.rmtree(self._exports()[-1])
    for _ in range(2):
      self.job.train(max_steps=20)
      self.assertEqual(self._exported_steps(), [10, 20])

  def test_a_job_whose_last_export_fails_exports_when_it_is_started_again(self):
    folder = os.path.join(self._dir, "exported_models")
    with open(folder, "w"):
      pass
    with self.assertRaisesRegex(tf.errors.OpError, folder):
      self.job.train()
    step = checkpoint.step_of(self.job.latest_checkpoint())
    os.remove(folder)
    self.job.train()
    self.assertEqual(self._exported_steps(), [step])  # The data were over.

  def test_a_mistake_of_an_export_does_not_keep_the_last_save_away(self):
    with mock.patch.object(saved_model, "export", side_effect=TypeError("wrong")):
      with self.assertRaisesRegex(TypeError, "wrong"):
        self.job.train(max_steps=11)
    self.assertEqual(checkpoint.step_of(self.job.latest_checkpoint()), 11)

  def test_a_model_that_has_gained_a_feature_trains_before_it_is_exported(self):
    self.job.train(max_steps=10)
    shutil.rmtree(os.path.dirname(self._exports()[0]))
    with self.assertLogs("absl", "ERROR") as logs:
      self._job(PopularityWithItems).train(max_steps=12)
    self.assertRegex("".join(logs.output), "ckpt-10 is saved, .* NOT EXPORTED.*item")
    self.assertEqual(self._exported_steps(), [12])

  def test_what_only_an_export_needs_goes_with_it(self):
    export = saved_model.export

    def slow_export(*arguments) -> str:
      time.sleep(0.5)
      return export(*arguments)

    job = self._job(checkpoints_max_to_keep=1, checkpoint_increments=0)
    with mock.patch.object(saved_model, "export", slow_export):
      job.train(max_steps=50)
    self.assertEqual(checkpoint.checkpoints(self._dir), [job.latest_checkpoint()])

  def test_training_that_fails_gives_its_export_up(self):
    begun = threading.Event()

    def export(model, checkpoints, folder, num_ps, abandonment) -> str:
      begun.set()
      abandonment.sleep(600)

    class Fail(tf.compat.v1.train.SessionRunHook):
      def after_run(self, run_context, run_values):
        if begun.is_set():
          raise LookupError("of a hook")

    with mock.patch.object(saved_model, "export", export):
      with self.assertRaisesRegex(LookupError, "of a hook"):
        self._job(Endless).train(hooks=[Fail()])
    names = [thread.name for thread in threading.enumerate()]
    self.assertNotIn("monolith export", names)

  def test_sigterm_abandons_an_export(self):
    begun, tries = threading.Event(), []

    def export(model, checkpoints, folder, num_ps, abandonment) -> str:
      del model, folder, num_ps
      tries.append(checkpoints)
      begun.set()
      while True:
        abandonment.check()
        time.sleep(0.01)

    class Stop(tf.compat.v1.train.SessionRunHook):
      steps = 0  # Since it has begun: it leaves at another step than was saved.

      def after_run(self, run_context, run_values):
        self.steps += begun.is_set()
        if self.steps == 2:
          os.kill(os.getpid(), signal.SIGTERM)

    job = self._job(Endless)
    with mock.patch.object(saved_model, "export", export):
      with self.assertLogs("absl", "WARNING") as logs:
        with self.assertRaises(SystemExit) as caught:
          job.train(hooks=[Stop()])
    self.assertEqual(caught.exception.code, 128 + signal.SIGTERM)
    self.assertIn("is saved, but not exported", "".join(logs.output))
    steps = [checkpoint.step_of(path) for path in checkpoint.checkpoints(job.model_dir)]
    self.assertEqual(steps[0], 10)
    self.assertGreater(len(steps), 1)  # Saved when it left, too.

  def test_an_abandoned_export_ends_what_runs_and_leaves_nothing(self):
    asked = threading.Event()
    abandonment = Abandonment(asked.is_set)

    def ask() -> np.int32:
      asked.set()
      return np.int32(0)

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      zero = tf.ensure_shape(tf.numpy_function(ask, [], tf.int32), [])
      endless = tf.while_loop(lambda i: i >= 0, lambda i: i * 0, [zero])
      with self.assertRaises(tf.errors.CancelledError), abandonment.closes(session):
        session.run(endless)
    self.job.train()
    folder = self.create_tempdir().full_path
    with self.assertRaises(ExportAbandonedError):
      saved_model.export(
        self.job._model,
        lambda: [self.job.latest_checkpoint()],
        folder,
        abandonment=abandonment,
      )
    self.assertEmpty(os.listdir(folder))

  def test_an_export_that_waits_for_storage_is_abandoned_at_once(self):
    self.job.train()
    folder = self.create_tempdir().full_path
    asked = threading.Event()

    def is_away(path: str) -> None:
      asked.set()
      raise StorageError(f"{path}: no answer")

    with mock.patch.object(
      checkpoint, "check_dense_files", side_effect=is_away
    ) as read:
      with self.assertRaises(ExportAbandonedError):
        saved_model.export(
          self.job._model,
          lambda: [self.job.latest_checkpoint()],
          folder,
          abandonment=Abandonment(asked.is_set),
        )
    read.assert_called_once()
    self.assertEmpty(os.listdir(folder))

  def test_a_checkpoint_that_has_gone_ends_only_its_export(self):
    self.job.train()
    path = self.job.latest_checkpoint()
    checkpoint.remove(path)
    with self.assertRaisesRegex(DamagedCheckpointError, f"{path}.*(removed|cannot be)"):
      self.job._export_saved(StopRequest(), path, lambda: False)


if __name__ == "__main__":
  absltest.main()
