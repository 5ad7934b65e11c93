"""One process: training that was interrupted goes on, damaged checkpoints are passed
over."""

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, estimator
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import job_saves
from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_leftovers,
  sound_checkpoint,
)
from monolith.native_training.training.processes import heartbeat

_BATCHES = 40
# Of a chief that a later one has found in the folder.
_LATER = heartbeat.Sign(term=7)


class Interrupted(Exception):
  """What a step raises in place of the machine that fails."""


class InterruptAfter(tf.compat.v1.train.SessionRunHook):
  """Notes the numbers of the batches, and fails after some steps."""

  def __init__(self, seen: list[int], steps: int | None = None):
    self._seen = seen
    self._steps = steps

  def before_run(self, run_context):
    graph = run_context.session.graph
    return tf.compat.v1.train.SessionRunArgs(graph.get_tensor_by_name("number:0"))

  def after_run(self, run_context, run_values):
    self._seen.append(int(run_values.results))
    if self._steps is not None:
      self._steps -= 1
      if not self._steps:
        raise Interrupted


class RunAt(tf.compat.v1.train.SessionRunHook):
  """Does something after a step."""

  def __init__(self, step: int, do: Callable[[], object]):
    self._steps_left = step
    self._do = do

  def after_run(self, run_context, run_values):
    self._steps_left -= 1
    if not self._steps_left:
      self._do()


class StopAtEnd(tf.compat.v1.train.SessionRunHook):
  """Asks this process to leave when nothing is left to train."""

  def end(self, session):
    del session
    os.kill(os.getpid(), signal.SIGTERM)


class Numbered(MonolithModel):
  """Learns one number of each of few ids, from batches that are numbered."""

  def input_fn(self, mode):
    del mode
    dataset = tf.data.Dataset.range(_BATCHES)
    return dataset.map(
      lambda i: {
        "id": tf.expand_dims(tf.range(4, dtype=tf.int64), 1),
        "label": tf.fill([4], tf.cast(i, tf.float32)),
        "number": tf.fill([4], i),
      }
    )

  def model_fn(self, features, mode):
    del mode
    if "number" in features:
      tf.identity(features["number"][0], name="number")
    self.create_embedding_feature_column("id")
    vec = self.lookup_embedding_slice(["id"], "vec", 2, optimizer=entry.SgdOptimizer())
    pred = tf.reduce_sum(vec[0], axis=1)
    loss = None
    if "label" in features:
      loss = tf.reduce_mean(tf.square(pred - features["label"]))
    bias = tf.compat.v1.get_variable("bias", [], initializer=tf.zeros_initializer())
    return estimator.EstimatorSpec(
      label=features.get("label"),
      pred=pred + bias,
      head_name="taste",
      loss=None if loss is None else loss + tf.square(bias - 1.0),
      classification=False,
    )

  def serving_input_receiver_fn(self):
    ids = tf.compat.v1.placeholder(tf.int64, [None, 1])
    return tf.estimator.export.ServingInputReceiver({"id": ids}, {"id": ids})


class EstimatorRecoveryTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _estimator(self, **settings) -> estimator.Estimator:
    config = estimator.RunnerConfig(
      tf_config="", model_dir=self._dir, save_checkpoints_secs=3600, **settings
    )
    return estimator.Estimator(Numbered.params().instantiate(), config)

  def _train(self, interrupt_after: int | None = None, **limits) -> list[int]:
    """Trains; returns the numbers of the batches."""
    seen = []
    hook = InterruptAfter(seen, interrupt_after)
    try:
      self._estimator().train(hooks=[hook], **limits)
    except Interrupted:
      self.assertIsNotNone(interrupt_after)
    return seen

  def _train_to(self, *steps: int) -> None:
    """Trains in several parts, each of which leaves a checkpoint."""
    for step in steps:
      self._train(max_steps=step)

  def _damage(self, step: int) -> None:
    path = checkpoint.tables_dir(checkpoint.path_of(self._dir, step))
    with open(os.path.join(path, "rows-00000-of-00001-0-of-2"), "r+b") as file:
      file.truncate(30)

  def _steps(self) -> list[int]:
    return [checkpoint.step_of(path) for path in checkpoint.checkpoints(self._dir)]

  def test_data_go_on_where_training_was_interrupted(self):
    self._train_to(15)
    path = checkpoint.latest_checkpoint(self._dir)
    checkpoint.mark(path, final=False)  # As if it had been interrupted there.
    self.assertEqual(self._train(interrupt_after=5), list(range(15, 20)))
    # Not saved, so again.
    self.assertEqual(self._train(), list(range(15, _BATCHES)))
    self.assertEqual(self._steps(), [15, _BATCHES])

  def test_data_begin_anew_after_the_end_also_when_that_is_interrupted(self):
    self._train_to(15)
    self.assertEqual(self._train(interrupt_after=5), list(range(5)))
    self.assertEqual(self._train(interrupt_after=3), list(range(3)))
    self.assertEqual(self._train(), list(range(_BATCHES)))
    self.assertEqual(self._steps(), [15, 15 + _BATCHES])

  def test_who_is_killed_before_the_end_is_marked_has_nothing_left_to_train(self):
    with mock.patch.object(checkpoint, "mark", side_effect=Interrupted):
      self.assertEqual(self._train(interrupt_after=_BATCHES + 1), list(range(_BATCHES)))
    path = checkpoint.latest_checkpoint(self._dir)
    self.assertFalse(checkpoint.is_final(path))
    self.assertEqual(self._train(), [])
    self.assertEqual(checkpoint.latest_checkpoint(self._dir), path)
    self.assertTrue(checkpoint.is_final(path))

  def test_sigterm_at_the_end_does_not_undo_it(self):
    self._estimator().train(hooks=[StopAtEnd()])  # No SystemExit.
    path = checkpoint.latest_checkpoint(self._dir)
    self.assertTrue(checkpoint.is_final(path))
    self.assertEqual(checkpoint.step_of(path), _BATCHES)

  def test_a_damaged_checkpoint_is_passed_over_and_set_aside(self):
    self._train_to(5, 10, 15)
    self._damage(15)
    with self.assertLogs("absl", "ERROR") as logs:
      self._train(max_steps=12)
    self.assertRegex(
      logs.output[0], "ckpt-15 is PASSED OVER.*ckpt-15 cannot be restored: table file"
    )
    self.assertEqual(self._steps(), [5, 10, 12])
    self.assertTrue(
      os.path.isdir(os.path.join(self._dir, "model.ckpt-15.refused.tables"))
    )
    # Neither of the two is what training was ended with any more.
    finals = [checkpoint.is_final(p) for p in checkpoint.checkpoints(self._dir)]
    self.assertEqual(finals, [False, False, True])

  def test_only_what_was_restored_is_marked(self):
    self._train_to(5, 10)
    self._damage(10)
    newest = checkpoint.latest_checkpoint(self._dir)
    before = checkpoint.read_manifest(newest)
    self._train(interrupt_after=1)
    self.assertEqual(checkpoint.read_manifest(newest + ".refused"), before)
    self.assertFalse(checkpoint.is_final(checkpoint.path_of(self._dir, 5)))

  def test_where_none_is_sound_training_does_not_begin_anew(self):
    self._train_to(5, 10)
    self._damage(5)
    self._damage(10)
    with self.assertRaisesRegex(
      ValueError, "none of 2 checkpoints can be used: .*ckpt-10 .*ckpt-5 "
    ):
      self._train()
    self.assertEqual(self._steps(), [5, 10])

  def test_evaluation_and_prediction_pass_over_what_is_damaged(self):
    self._train_to(5, 10)
    job = self._estimator()
    newest = job.latest_checkpoint()
    before = next(job.predict(checkpoint_path=checkpoint.path_of(self._dir, 5)))
    self._damage(10)
    with self.assertLogs("absl", "ERROR"):
      self.assertEqual(job.evaluate()["global_step"], 5)
    with self.assertLogs("absl", "ERROR"):
      np.testing.assert_array_equal(next(job.predict())["taste"], before["taste"])
    with self.assertRaisesRegex(ValueError, "ckpt-10 cannot be restored"):
      next(job.predict(checkpoint_path=newest))
    # They change nothing.
    self.assertEqual(self._steps(), [5, 10])

  def test_a_warm_start_passes_over_what_is_damaged(self):
    self._train_to(5, 10)
    self._damage(10)

    def begun_from(source: str) -> np.ndarray:
      config = estimator.RunnerConfig(model_dir=self.create_tempdir().full_path)
      model = Numbered.params().instantiate()
      job = estimator.Estimator(model, config, warm_start_from=source)
      return next(job.train(max_steps=1).predict())["taste"]

    with self.assertLogs("absl", "ERROR") as logs:
      values = begun_from(self._dir)
    self.assertRegex(logs.output[0], "ckpt-10 is PASSED OVER")
    sound = checkpoint.path_of(self._dir, 5)
    for suffix in ("", "/", ".index", ".tables"):
      np.testing.assert_array_equal(values, begun_from(sound + suffix))
    with self.assertRaisesRegex(ValueError, "ckpt-10 cannot be restored"):
      begun_from(checkpoint.path_of(self._dir, 10))
    self.assertEqual(self._steps(), [5, 10])

  def test_storage_that_does_not_answer_is_waited_for_at_the_beginning(self):
    self._train_to(5)
    answer, asked = tf.io.gfile.stat, []

    def stat(path):
      asked.append(path)
      if len(asked) == 1:
        raise tf.errors.UnavailableError(None, None, "storage is away")
      return answer(path)

    is_folder = tf.io.gfile.isdir

    def isdir(path):
      return is_folder(path) and (path != self._dir or bool(asked))

    self.enter_context(mock.patch.object(sound_checkpoint, "_PAUSES_SECS", (0.1,)))
    self.enter_context(mock.patch.object(checkpoint_leftovers, "sweep"))
    with (
      mock.patch.object(tf.io.gfile, "stat", stat),
      mock.patch.object(tf.io.gfile, "isdir", isdir),
      self.assertLogs("absl", "ERROR") as logs,
    ):
      self._train(max_steps=7)
    self.assertRegex(logs.output[0], "storage is away.* is tried again in 0.1 s")
    self.assertEqual(self._steps(), [5, 7])

  def test_export_passes_over_what_is_damaged(self):
    self._train_to(5, 10)
    job = self._estimator()
    with open(checkpoint.path_of(self._dir, 10) + ".index", "w"):
      pass
    with self.assertLogs("absl", "ERROR") as logs:
      job.export_saved_model()
    self.assertRegex(logs.output[0], "ckpt-10 is PASSED OVER")
    with self.assertRaisesRegex(ValueError, "ckpt-10"):
      job.export_saved_model(checkpoint_path=job.latest_checkpoint())

  def test_what_is_replaced_before_it_is_read_is_found_again(self):
    self._train_to(5)
    job = self._estimator()
    listed = checkpoint.checkpoints

    def then_replaced(folder: str) -> list[str]:
      paths = listed(folder)
      if len(replaced) < 2:
        replaced.append(f"{checkpoint.path_of(folder, 5)}.{next(again)}")
        checkpoint.rename(paths[-1], replaced[-1])
      return paths

    again = itertools.count(1)
    for use in (job.evaluate, lambda: next(job.predict()), job.export_saved_model):
      replaced = []
      with (
        mock.patch.object(checkpoint, "checkpoints", then_replaced),
        self.assertNoLogs("absl", "ERROR"),
      ):
        use()
      self.assertEqual(job.latest_checkpoint(), replaced[-1])

  def test_what_a_killed_chief_has_left_goes_when_training_begins(self):
    self._train_to(5)
    left = os.path.join(self._dir, "model.ckpt-9.tables")
    shutil.copytree(os.path.join(self._dir, "model.ckpt-5.tables"), left)
    os.remove(os.path.join(left, "manifest.json"))
    self._train_to(7)
    self.assertFalse(os.path.exists(left))
    self.assertEqual(self._steps(), [5, 7])

  def test_a_folder_that_cannot_be_written_to_is_named(self):
    self._train()
    denied = tf.errors.PermissionDeniedError(None, None, "Read-only file system")
    self.enter_context(mock.patch.object(sound_checkpoint, "_PAUSES_SECS", (0.1,)))
    with (
      mock.patch.object(checkpoint, "write_manifest", side_effect=denied) as write,
      self.assertRaisesRegex(
        OSError, f"Read-only.*model_dir {self._dir} has to be writable"
      ),
    ):
      self._train()
    self.assertEqual(write.call_count, 2)

  def test_the_last_save_fails_aloud(self):
    with open(os.path.join(self._dir, "model.ckpt-5.tables"), "w"):
      pass
    self.enter_context(mock.patch.object(job_saves, "_LAST_SAVE_SECS", 0.0))
    with self.assertRaisesRegex(tf.errors.OpError, "model.ckpt-5.tables"):
      self._train_to(5)

  def test_nobody_else_trains_in_the_same_folder(self):
    self.enter_context(mock.patch.object(heartbeat, "_BEAT_SECS", 0.2))
    other = RunAt(5, lambda: self._estimator().train(max_steps=20))
    with self.assertRaisesRegex(RuntimeError, "another job trains in the same model"):
      self._estimator().train(max_steps=10, hooks=[other])
    self.assertEmpty(self._steps())

  def test_who_was_taken_for_dead_saves_nothing_and_leaves(self):
    def begin() -> None:
      with mock.patch.object(heartbeat, "_check_alone", return_value=_LATER):
        self.enter_context(heartbeat.beating(self._dir, "another"))

    with self.assertRaisesRegex(RuntimeError, "another chief trains"):
      self._estimator().train(max_steps=10, hooks=[RunAt(5, begin)])
    self.assertEmpty(self._steps())
    self.assertTrue(os.path.exists(os.path.join(self._dir, "chief.alive")))

  def test_what_another_has_saved_ends_training_and_is_left_alone(self):
    self._train_to(30)
    others, self._dir = self._dir, self.create_tempdir().full_path

    def copy() -> None:
      ignore = shutil.ignore_patterns("chief.alive")
      shutil.copytree(others, self._dir, ignore=ignore, dirs_exist_ok=True)

    with self.assertRaisesRegex(RuntimeError, "another process .*ckpt-30 is newer"):
      self._estimator().train(max_steps=20, hooks=[RunAt(12, copy)])
    self.assertEqual(self._steps(), [30])
    self._train_to(32)
    self.assertEqual(self._steps(), [30, 32])


if __name__ == "__main__":
  absltest.main()
