"""A model changes between one run and the next: what the Estimator makes of it."""

import os

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, estimator
from monolith.native_training.native_model import MonolithModel

_IDS = np.arange(8)


class ChangingModel(MonolithModel):
  """Every feature's row rises by 0.1 in each of its floats at each step."""

  @classmethod
  def params(cls):
    p = super().params()
    p.define("dims", {"a": 2, "b": 2}, "Feature -> floats of its slice.")
    p.define("optimizer", entry.SgdOptimizer(0.1), "Of all slices.")
    return p

  def input_fn(self, mode):
    batch = {name: tf.constant(_IDS[None, :, None]) for name in self.p.dims}
    return tf.data.Dataset.from_tensor_slices(batch)

  def model_fn(self, features, mode):
    sums = {}
    for name, dim in self.p.dims.items():
      self.create_embedding_feature_column(name)
      (row,) = self.lookup_embedding_slice(
        [name], "vec", dim, entry.ZerosInitializer(), self.p.optimizer
      )
      sums[name] = tf.reduce_sum(row, axis=1)
    bias = tf.compat.v1.get_variable("bias", [], initializer=tf.zeros_initializer())
    preds = list(sums.values())
    labels = [tf.zeros_like(pred) for pred in preds]
    return estimator.EstimatorSpec(
      label=labels,
      pred=preds,
      head_name=list(sums),
      loss=-tf.add_n([tf.reduce_sum(pred) for pred in preds]) - 0.0 * bias,
      optimizer=tf.compat.v1.train.GradientDescentOptimizer(0.1),
      classification=[False] * len(preds),
    )


class DenseModel(MonolithModel):
  """A layer reads the slices of all features beside each other."""

  @classmethod
  def params(cls):
    p = super().params()
    p.define("features", ("a", "b"), "Their names.")
    p.define("dim", 4, "Floats of each.")
    p.define("shared_name", None, "Of the table of all features.")
    p.define("optimizer", None, "Of dense variables.")
    return p

  def input_fn(self, mode):
    batch = {name: _IDS[:, None] for name in self.p.features}
    batch["label"] = np.ones((len(_IDS), 1), np.float32)
    return tf.data.Dataset.from_tensors(batch)

  def model_fn(self, features, mode):
    for name in self.p.features:
      self.create_embedding_feature_column(name, shared_name=self.p.shared_name)
    vectors = self.lookup_embedding_slice(
      list(self.p.features), "vec", self.p.dim, out_type="concat"
    )
    hidden = tf.keras.layers.Dense(3, name="hidden")(vectors)
    pred = tf.keras.layers.Dense(1, name="last")(hidden)
    return estimator.EstimatorSpec(
      label=features["label"],
      pred=pred,
      head_name="head",
      loss=tf.reduce_mean(tf.square(pred - features["label"])),
      optimizer=self.p.optimizer,
      classification=False,
    )


class DenseLayersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _train(self, **params) -> estimator.Estimator:
    model = DenseModel.params()
    for name, value in params.items():
      setattr(model, name, value)
    conf = estimator.RunnerConfig(model_dir=self._dir)
    job = estimator.Estimator(model.instantiate(), conf)
    job.train(steps=1)
    return job

  def test_a_layer_whose_input_has_another_width_begins_anew(self):
    self._train()
    for features in (("a", "b", "c"), ("a",)):
      before = tf.train.load_checkpoint(tf.train.latest_checkpoint(self._dir))
      with self.assertLogs("absl", "WARNING") as logs:
        job = self._train(features=features)
      width = before.get_tensor("hidden/kernel").shape[0]
      (warning,) = [line for line in logs.output if "BEGIN ANEW" in line]
      for name in ("hidden/kernel", "hidden/kernel/Adagrad"):
        self.assertRegex(
          warning,
          rf"variable {name} has shape \[{width}, 3\] there and "
          rf"\({4 * len(features)}, 3\) in the model",
        )
      self.assertNotRegex(warning, "bias|last")
      after = tf.train.load_checkpoint(job.latest_checkpoint())
      np.testing.assert_allclose(
        after.get_tensor("last/kernel"), before.get_tensor("last/kernel"), atol=0.2
      )
      self.assertEqual(job.evaluate()["global_step"], after.get_tensor("global_step"))

  def test_another_dense_optimizer_begins_anew(self):
    self._train()
    with self.assertLogs("absl", "WARNING") as logs:
      self._train(optimizer=tf.compat.v1.train.AdamOptimizer())
    self.assertRegex("".join(logs.output), "BEGIN ANEW.*variable hidden/kernel/Adam,")

  def test_another_dim_of_a_shared_table_is_refused_naming_its_features(self):
    for _ in range(2):
      self._train(shared_name="ids")
    names = sorted(os.listdir(self._dir))
    with self.assertRaisesRegex(
      ValueError,
      "segment vec of table ids has dim 4 in the file, but 5 in the model; table ids "
      "is that of the features a, b$",
    ):
      self._train(shared_name="ids", dim=5)
    # No checkpoint is damaged, and none was set aside.
    self.assertEqual(
      [n for n in names if "ckpt" in n],
      sorted(n for n in os.listdir(self._dir) if "ckpt" in n),
    )


class EstimatorChangesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._train(self._dir)

  def _train(self, model_dir, warm_start_from=None, **params) -> estimator.Estimator:
    """One step."""
    model = ChangingModel.params()
    for name, value in params.items():
      setattr(model, name, value)
    job = estimator.Estimator(
      model.instantiate(), estimator.RunnerConfig(model_dir=model_dir), warm_start_from
    )
    job.train(steps=1)
    return job

  def _sums(self, job: estimator.Estimator) -> dict[str, float]:
    """What the rows of each feature have risen to, all floats together."""
    results = list(job.predict())
    self.assertLen(results, len(_IDS))
    for values in zip(*(result.values() for result in results), strict=True):
      self.assertLen(set(np.round(values, 5)), 1)
    return {name: round(float(value), 5) for name, value in results[0].items()}

  def test_features_are_gained_and_lost(self):
    job = self._train(self._dir, dims={"b": 2, "c": 3})
    self.assertEqual(self._sums(job), {"b": 0.4, "c": 0.3})
    # What was lost meanwhile begins anew.
    job = self._train(self._dir, dims={"a": 2, "b": 2})
    self.assertEqual(self._sums(job), {"a": 0.2, "b": 0.6})

  def test_another_optimizer_goes_on_from_the_rows(self):
    job = self._train(self._dir, optimizer=entry.MomentumOptimizer(0.1))
    self.assertEqual(self._sums(job), {"a": 0.4, "b": 0.4})

  def test_another_dim_is_refused_naming_the_feature(self):
    with self.assertRaisesRegex(
      ValueError,
      "model.ckpt-1 cannot be restored: .*segment vec of table b has dim 2 in the "
      "file, but 3 in the model",
    ):
      self._train(self._dir, dims={"a": 2, "b": 3})
    self.assertEqual(self._sums(self._train(self._dir)), {"a": 0.4, "b": 0.4})

  def test_a_warm_start_takes_what_matches(self):
    folder = self.create_tempdir().full_path
    job = self._train(folder, self._dir, dims={"a": 2, "b": 3, "c": 2})
    self.assertEqual(self._sums(job), {"a": 0.4, "b": 0.3, "c": 0.2})
    # Once: the next run goes on from its own checkpoint.
    job = self._train(folder, self._dir, dims={"a": 2, "b": 3, "c": 2})
    self.assertEqual(self._sums(job), {"a": 0.6, "b": 0.6, "c": 0.4})


if __name__ == "__main__":
  absltest.main()
