"""Training, evaluation and prediction of one process, over real tables."""

import os
import threading

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, estimator
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.checkpoints import background_save, checkpoint

_IDS = 50
_BATCH = 32


def _examples(count: int = 4096) -> dict[str, np.ndarray]:
  """Examples whose label is a number of their user plus one of their item."""
  random = np.random.default_rng(7)
  users, items = random.integers(0, _IDS, (2, count))
  worth = random.normal(size=(2, _IDS))
  label = worth[0][users] + worth[1][items]
  return {"user": users, "item": items, "label": label.astype(np.float32)}


class TasteModel(MonolithModel):
  """Regression on the sum of a user's and an item's embedding."""

  @classmethod
  def params(cls):
    p = super().params()
    p.define("poison_step", None, "Batch whose loss is infinite.")
    p.define("epochs", 1, "Passes over the data; with 0 there are none.")
    return p

  def input_fn(self, mode):
    data = {
      name: tf.constant(v[:, None] if name != "label" else v)
      for name, v in _examples().items()
    }
    dataset = tf.data.Dataset.from_tensor_slices(data)
    if mode == tf.estimator.ModeKeys.TRAIN:
      dataset = dataset.repeat(self.p.epochs)
    return (
      dataset.batch(_BATCH, drop_remainder=True)
      .enumerate()
      .map(lambda i, x: {**x, "i": tf.fill([_BATCH], i)})
    )

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("user")
    self.create_embedding_feature_column("item")
    user, item = self.lookup_embedding_slice(
      ["user", "item"], "vec", 4, optimizer=entry.AdagradOptimizer(0.3)
    )
    bias = tf.compat.v1.get_variable("bias", [], initializer=tf.zeros_initializer())
    pred = tf.reduce_sum(user, axis=1) + tf.reduce_sum(item, axis=1) + bias
    loss = tf.reduce_mean(tf.square(pred - features["label"]))
    if self.p.poison_step is not None and mode == tf.estimator.ModeKeys.TRAIN:
      is_bad = tf.equal(features["i"][0], self.p.poison_step)
      loss += tf.where(is_bad, np.float32("inf"), 0.0) * tf.reduce_sum(user)
    return estimator.EstimatorSpec(
      label=features["label"],
      pred=pred,
      head_name="taste",
      loss=loss,
      optimizer=tf.compat.v1.train.GradientDescentOptimizer(0.01),
      classification=False,
    )


def _estimator(model_dir, warm_start_from=None, **settings):
  params = TasteModel.params()
  config = {}
  for name, value in settings.items():
    if name in params:
      setattr(params, name, value)
    else:
      config[name] = value
  config = estimator.RunnerConfig(model_dir=model_dir, **config)
  return estimator.Estimator(params.instantiate(), config, warm_start_from)


def _step(path: str) -> int:
  return checkpoint.step_of(path)


class SavesEndFirst(tf.compat.v1.train.SessionRunHook):
  """Lets a step wait for the save beside it: these steps are faster than that."""

  def before_run(self, run_context):
    for thread in threading.enumerate():
      if thread.name == background_save.THREAD_NAME:
        thread.join()


class EstimatorTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model_dir = self.create_tempdir().full_path

  def test_processes_of_a_job_need_one_folder(self):
    cluster = {"worker": ["localhost:1"], "ps": ["localhost:2"]}
    for task in ("worker", "ps"):
      config = {"cluster": cluster, "task": {"type": task, "index": 0}}
      with self.assertRaisesRegex(ValueError, "model_dir: got none, but the job has"):
        estimator.Estimator(
          TasteModel.params().instantiate(), estimator.RunnerConfig(tf_config=config)
        )

  def test_trains_to_the_end_of_the_data_and_learns(self):
    job = _estimator(self.model_dir, epochs=10)
    job.train()
    self.assertEqual(_step(job.latest_checkpoint()), 10 * 4096 // _BATCH)
    metrics = job.evaluate()
    spread = float(np.std(_examples()["label"]))
    self.assertLess(metrics["taste/rmse"], 0.2 * spread)
    self.assertEqual(metrics["examples"], 4096)
    self.assertAlmostEqual(metrics["loss"], metrics["taste/rmse"] ** 2, places=4)

  def test_batches_without_examples_are_left_out(self):
    class Gaps(TasteModel):
      def input_fn(self, mode):
        def keep(x):
          return {
            name: tf.boolean_mask(v, tf.not_equal(x["i"] % 4, 1))
            for name, v in x.items()
          }

        return super().input_fn(mode).map(keep)

    config = estimator.RunnerConfig(model_dir=self.model_dir)
    job = estimator.Estimator(Gaps.params().instantiate(), config)
    batches = 4096 // _BATCH * 3 // 4
    job.train()
    self.assertEqual(_step(job.latest_checkpoint()), batches)
    metrics = job.evaluate()
    self.assertEqual(metrics["examples"], batches * _BATCH)
    self.assertAlmostEqual(metrics["loss"], metrics["taste/rmse"] ** 2, places=4)
    predicted = list(job.predict(yield_single_examples=False))
    self.assertEqual([len(p["taste"]) for p in predicted], [_BATCH] * batches)

  def test_training_on_no_data_is_warned_of(self):
    with self.assertLogs("absl", "WARNING") as logs:
      _estimator(self.model_dir, epochs=0).train()
    self.assertRegex("".join(logs.output), "worker, 0 of 1, got no batch.*drop_remain")

  def test_second_train_continues(self):
    _estimator(self.model_dir).train(max_steps=20)
    job = _estimator(self.model_dir)
    job.train(steps=15)
    self.assertEqual(_step(job.latest_checkpoint()), 35)

  def test_continued_training_equals_uninterrupted_training(self):
    _estimator(self.model_dir, epochs=1).train()
    _estimator(self.model_dir, epochs=1).train()
    other_dir = self.create_tempdir().full_path
    _estimator(other_dir, epochs=2).train()
    twice = _estimator(self.model_dir).evaluate()
    once = _estimator(other_dir).evaluate()
    self.assertAlmostEqual(twice["loss"], once["loss"], delta=1e-6)

  def test_steps_are_whole_numbers_numpys_too(self):
    job = _estimator(self.model_dir)
    job.train(steps=np.int64(2))
    job.train(max_steps=np.int32(5))
    self.assertEqual(_step(job.latest_checkpoint()), 5)
    for bad in (0, -1, 1.5, True, "10"):
      for name in ("steps", "max_steps"):
        with self.assertRaisesRegex(
          ValueError, f"^{name}: got {bad!r}, wanted a whole"
        ):
          job.train(**{name: bad})
      with self.assertRaisesRegex(ValueError, f"^steps: got {bad!r}, wanted a whole"):
        job.evaluate(steps=bad)
    self.assertEqual(job.evaluate(steps=np.int64(2))["examples"], 2 * _BATCH)

  def test_any_name_of_a_model_does_for_a_temporary_folder(self):
    params = TasteModel.params().set(name="taste/of ../users")
    job = estimator.Estimator(params.instantiate(), estimator.RunnerConfig())
    self.addCleanup(os.rmdir, job.model_dir)
    self.assertIn("taste_of_.._users", os.path.basename(job.model_dir))

  def test_max_steps_already_reached_trains_nothing(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=20)
    before = job.evaluate()
    job.train(max_steps=20)
    self.assertEqual(job.evaluate(), before)

  def test_predictions_match_evaluation(self):
    job = _estimator(self.model_dir, epochs=3)
    job.train()
    predictions = np.array([p["taste"] for p in job.predict()])
    rmse = np.sqrt(np.mean((predictions - _examples()["label"]) ** 2))
    self.assertAlmostEqual(rmse, job.evaluate()["taste/rmse"], places=4)

  def test_predict_gives_batches_on_request(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    batch = next(job.predict(yield_single_examples=False))
    self.assertEqual(batch["taste"].shape, (_BATCH,))

  def test_predict_refuses_an_unknown_head(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    with self.assertRaisesRegex(ValueError, "'click'.*heads are taste"):
      next(job.predict(predict_keys=["click"]))
    for bad in ([], 3, [3], {"taste"}):
      with self.assertRaisesRegex(ValueError, "^predict_keys: got .*wanted names of"):
        job.predict(predict_keys=bad)

  def test_what_is_no_checkpoint_is_refused(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    for bad in ("", "nowhere", self.model_dir, job.latest_checkpoint() + ".index", 3):
      with self.assertRaisesRegex(ValueError, f"^checkpoint_path: got {bad!r}, which"):
        job.predict(checkpoint_path=bad)
      with self.assertRaisesRegex(ValueError, f"^checkpoint_path: got {bad!r}, which"):
        job.export_saved_model(checkpoint_path=bad)

  def test_evaluates_where_no_summaries_can_be_written(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    # A folder's name that is taken stops root too, whom permissions do not.
    with open(os.path.join(self.model_dir, "eval"), "w"):
      pass
    with self.assertLogs("absl", "WARNING") as logs:
      metrics = job.evaluate()
    self.assertEqual(metrics["global_step"], 3)
    self.assertIn("cannot write summaries of the evaluation", logs.output[0])

  def test_evaluates_where_the_folder_of_summaries_cannot_be_written_to(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    # A folder in which root too can make no file.
    os.symlink("/proc/self", os.path.join(self.model_dir, "eval"))
    with self.assertLogs("absl", "WARNING") as logs:
      metrics = job.evaluate()
    self.assertEqual(metrics["global_step"], 3)
    self.assertIn("cannot write summaries of the evaluation", logs.output[0])

  def test_a_hook_may_end_evaluation_and_prediction(self):
    class StopAfterTwo(tf.compat.v1.train.SessionRunHook):
      def begin(self):
        self._left = 2

      def after_run(self, run_context, run_values):
        self._left -= 1
        if not self._left:
          run_context.request_stop()

    job = _estimator(self.model_dir)
    job.train(max_steps=3)
    self.assertEqual(job.evaluate(hooks=[StopAfterTwo()])["examples"], 2 * _BATCH)
    self.assertLen(list(job.predict(hooks=[StopAfterTwo()])), 2 * _BATCH)

  def test_evaluate_without_a_checkpoint_says_so(self):
    with self.assertRaisesRegex(ValueError, "no complete checkpoint"):
      _estimator(self.model_dir).evaluate()

  def test_an_infinite_gradient_names_the_feature_and_is_not_saved(self):
    job = _estimator(self.model_dir, poison_step=5, save_checkpoints_steps=1)
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "user") as raised:
      job.train(hooks=[SavesEndFirst()])
    self.assertLen(str(raised.exception).splitlines(), 1)
    self.assertEqual(_step(job.latest_checkpoint()), 5)

  def test_keeps_the_newest_checkpoints(self):
    job = _estimator(
      self.model_dir,
      save_checkpoints_steps=10,
      checkpoints_max_to_keep=3,
      checkpoint_increments=0,
    )
    job.train(max_steps=60, hooks=[SavesEndFirst()])
    steps = [_step(path) for path in checkpoint.checkpoints(self.model_dir)]
    self.assertEqual(steps, [40, 50, 60])
    left = [n for n in os.listdir(self.model_dir) if "ckpt-10" in n or "ckpt-30" in n]
    self.assertEmpty(left)
    self.assertEndsWith(tf.train.latest_checkpoint(self.model_dir), "model.ckpt-60")

  def test_keeps_what_the_newest_checkpoint_is_made_of(self):
    job = _estimator(
      self.model_dir, save_checkpoints_steps=20, checkpoints_max_to_keep=1
    )
    job.train(max_steps=30)
    latest = job.latest_checkpoint()
    chain = checkpoint.chain(latest)
    self.assertEqual(checkpoint.checkpoints(self.model_dir), chain)
    self.assertGreater(len(chain), 1)
    alone = _estimator(self.create_tempdir().full_path, save_checkpoints_steps=10)
    alone.train(max_steps=30)
    self.assertEqual(job.evaluate()["loss"], alone.evaluate()["loss"])

  def test_a_checkpoint_without_manifest_does_not_count(self):
    job = _estimator(self.model_dir, save_checkpoints_steps=10)
    job.train(max_steps=20, hooks=[SavesEndFirst()])
    os.remove(os.path.join(self.model_dir, "model.ckpt-20.tables", "manifest.json"))
    self.assertEqual(_step(job.latest_checkpoint()), 10)

  def test_a_checkpoint_that_lost_its_rows_is_refused(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=20)
    path = job.latest_checkpoint()
    manifest = checkpoint.read_manifest(path)
    manifest.table_files = []
    checkpoint.write_manifest(path, manifest)
    with self.assertRaisesRegex(ValueError, "ckpt-20: its files have 0 rows"):
      job.evaluate()

  def test_damaged_dense_variables_name_the_checkpoint(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=20)
    (name,) = tf.io.gfile.glob(os.path.join(self.model_dir, "*.data-*"))
    with open(name, "r+b") as file:
      file.truncate(1)
    with self.assertRaisesRegex(
      ValueError, "model.ckpt-20.data-00000-of-00001 is damaged: it has 1 bytes"
    ) as raised:
      job.evaluate()
    self.assertLen(str(raised.exception).splitlines(), 1)

  def test_damaged_tables_name_the_file(self):
    job = _estimator(self.model_dir)
    job.train(max_steps=20)
    name = os.path.join(
      self.model_dir, "model.ckpt-20.tables", "rows-00000-of-00001-1-of-2"
    )
    with open(name, "r+b") as file:
      file.truncate(100)
    with self.assertRaisesRegex(
      ValueError, f"model.ckpt-20 cannot be restored: table file {name} cannot be used"
    ) as raised:
      job.evaluate()
    self.assertLen(str(raised.exception).splitlines(), 1)

  def test_the_models_own_save_interval_counts(self):
    job = _estimator(self.model_dir)
    job._model.p.train.save_checkpoints_steps = 10
    job.train(max_steps=30, hooks=[SavesEndFirst()])
    steps = [_step(path) for path in checkpoint.checkpoints(self.model_dir)]
    self.assertEqual(steps, [10, 20, 30])

  def test_refuses_a_clip_norm_that_would_turn_gradients_around(self):
    with self.assertRaisesRegex(ValueError, "clip_norm: got -1.0"):
      _estimator(self.model_dir, clip_norm=-1.0).train()

  def test_a_classifier_whose_predictions_are_no_probabilities_is_named(self):
    class Tuple(TasteModel):
      def model_fn(self, features, mode):
        spec = super().model_fn(features, mode)
        return spec.loss, spec.label, 5.0 + spec.pred

    config = estimator.RunnerConfig(model_dir=self.model_dir)
    job = estimator.Estimator(Tuple.params().instantiate(), config)
    job.train(max_steps=3)
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, r"(?s)default.*classifier.*classification=False"
    ):
      job.evaluate()

  def test_warm_start_takes_values_but_not_the_step(self):
    _estimator(self.model_dir, epochs=5).train()
    trained = _estimator(self.model_dir).evaluate()
    job = _estimator(self.create_tempdir().full_path, warm_start_from=self.model_dir)
    job.train(max_steps=1)
    self.assertEqual(_step(job.latest_checkpoint()), 1)
    self.assertAlmostEqual(job.evaluate()["loss"], trained["loss"], delta=0.1)

  def test_hooks_run_around_every_step(self):
    class Count(tf.compat.v1.train.SessionRunHook):
      steps = 0

      def after_run(self, run_context, run_values):
        self.steps += 1

    count = Count()
    _estimator(self.model_dir).train(max_steps=7, hooks=[count])
    self.assertEqual(count.steps, 7)

  def test_summaries_are_written(self):
    _estimator(self.model_dir, save_summary_steps=10).train(max_steps=30)
    tags = set()
    for name in tf.io.gfile.glob(os.path.join(self.model_dir, "events.*")):
      for event in tf.compat.v1.train.summary_iterator(name):
        tags.update(value.tag for value in event.summary.value)
    self.assertContainsSubset(
      {"loss", "steps_per_sec", "examples_per_sec", "tables/user/rows"}, tags
    )

  def test_refuses_what_is_no_model(self):
    with self.assertRaisesRegex(TypeError, "wanted a MonolithModel"):
      estimator.Estimator(object())


if __name__ == "__main__":
  absltest.main()
