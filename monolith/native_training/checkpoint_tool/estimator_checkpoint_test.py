"""The checkpoint tool on what an Estimator has written."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import estimator
from monolith.native_training.checkpoint_tool import inspection, verification
from monolith.native_training.checkpoint_tool.saved_checkpoint import (
  SavedCheckpoint,
  candidates,
)
from monolith.native_training.native_model import MonolithModel

_BATCHES = [np.arange(100), np.arange(5), np.arange(100, 103)]


class IdsModel(MonolithModel):
  def input_fn(self, mode):
    batches = [tf.data.Dataset.from_tensors({"user": ids[:, None]}) for ids in _BATCHES]
    dataset = batches[0]
    for batch in batches[1:]:
      dataset = dataset.concatenate(batch)
    return dataset

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("user")
    (user,) = self.lookup_embedding_slice(["user"], "vec", 4)
    bias = tf.compat.v1.get_variable("bias", [], initializer=tf.zeros_initializer())
    pred = tf.reduce_sum(user, axis=1) + bias
    return estimator.EstimatorSpec(
      label=tf.ones_like(pred),
      pred=pred,
      loss=tf.reduce_mean(tf.square(pred - 1)),
      optimizer=tf.compat.v1.train.GradientDescentOptimizer(0.01),
      classification=False,
    )


class EstimatorCheckpointTest(absltest.TestCase):
  def test_every_checkpoint_is_sound_and_counted(self):
    folder = self.create_tempdir().full_path
    config = estimator.RunnerConfig(
      model_dir=folder, save_checkpoints_steps=1, checkpoint_increments=5
    )
    estimator.Estimator(IdsModel.params().instantiate(), config).train()
    paths = candidates(folder)
    # Not of every step: one that ends while a checkpoint is saved waits its turn.
    self.assertNotEmpty(paths)
    for path in paths:
      self.assertEmpty(verification.Verifier().verify(path).problems)
    report = inspection.inspect(SavedCheckpoint(paths[0]))
    self.assertGreaterEqual(report["chain"][0]["rows"], 100)
    self.assertTrue(report["final"])
    (table,) = report["tables"]
    self.assertEqual((table["name"], table["rows"]), ("user", 103))
    self.assertContainsSubset(
      ["bias", "global_step"],
      [variable["name"] for variable in report["dense_variables"]],
    )


if __name__ == "__main__":
  absltest.main()
