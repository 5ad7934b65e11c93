"""Which rows a model's tables have: admission and expiry through the Estimator."""

import glob
import json
import os
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, estimator
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import training_graph

_THRESHOLD = 5
_STEPS = 8
_OFTEN, _SELDOM, _TWICE_A_BATCH = 7, 8, 9


class FewIdsModel(MonolithModel):
  """Rows begin at 1 and rise by 0.1 with each example that has their id."""

  @classmethod
  def params(cls):
    p = super().params()
    p.define("expire_time", 36500.0, "Of rows, in days.")
    return p

  def input_fn(self, mode):
    if mode == tf.estimator.ModeKeys.PREDICT:
      ids = np.array([[_OFTEN], [_SELDOM], [_TWICE_A_BATCH], [99]])
    else:
      # One batch each; -1 pads, and is seen in the others' stead.
      often = [_OFTEN] * _STEPS
      seldom = [_SELDOM] * (_THRESHOLD - 1) + [-1] * (_STEPS - _THRESHOLD + 1)
      twice = [_TWICE_A_BATCH] * 3 + [-1] * (_STEPS - 3)
      ids = np.stack([often, seldom, twice, twice], axis=1).reshape(-1, 1)
    return tf.data.Dataset.from_tensor_slices({"id": tf.constant(ids)}).batch(4)

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("id", expire_time=self.p.expire_time)
    (row,) = self.lookup_embedding_slice(
      ["id"], "vec", 2, entry.ConstantsInitializer(1.0), entry.SgdOptimizer(0.1)
    )
    pred = row[:, 0]
    return estimator.EstimatorSpec(
      label=tf.zeros_like(pred),
      pred=pred,
      head_name="row",
      loss=-tf.reduce_sum(pred),
      optimizer=tf.compat.v1.train.GradientDescentOptimizer(0.1),
      classification=False,
    )


def _estimator(model_dir: str, config=None, **params) -> estimator.Estimator:
  model = FewIdsModel.params()
  for name, value in params.items():
    setattr(model, name, value)
  return estimator.Estimator(
    model, estimator.RunnerConfig(model_dir=model_dir, **config or {})
  )


def _rows(trained: estimator.Estimator) -> list[float]:
  return [float(p["row"]) for p in trained.predict()]


class AdmissionTest(absltest.TestCase):
  def test_ids_below_the_threshold_read_zeros_and_others_learn(self):
    folder = self.create_tempdir().full_path
    trained = _estimator(folder, default_occurrence_threshold=_THRESHOLD).train()
    # The fifth occurrence of one is in the fifth batch; of the other, with the sixth,
    # in the third.
    often = 1 + 0.1 * (_STEPS - _THRESHOLD + 1)
    np.testing.assert_allclose(_rows(trained), [often, 0, 1.2, 0], rtol=1e-6)

  def test_occurrences_count_on_from_a_checkpoint(self):
    folder = self.create_tempdir().full_path
    for _ in range(2):
      trained = _estimator(folder, default_occurrence_threshold=_THRESHOLD).train()
    # The first occurrence of the second time is the fifth of _SELDOM.
    often = 1 + 0.1 * (2 * _STEPS - _THRESHOLD + 1)
    seldom = 1 + 0.1 * (_THRESHOLD - 1)
    np.testing.assert_allclose(_rows(trained), [often, seldom, 1.8, 0], rtol=1e-6)

  def test_without_a_threshold_all_learn(self):
    trained = _estimator(self.create_tempdir().full_path).train()
    np.testing.assert_allclose(
      _rows(trained),
      [1 + 0.1 * _STEPS, 1 + 0.1 * (_THRESHOLD - 1), 1.6, 0],
      rtol=1e-6,
    )

  def test_the_capacity_reaches_the_tables(self):
    configs = []
    real_build = training_graph.model_graph.build

    def build(*args, **kwargs):
      graph = real_build(*args, **kwargs)
      configs.append(json.loads(graph.embedding.plan.config()))
      return graph

    with mock.patch.object(training_graph.model_graph, "build", build):
      _estimator(
        self.create_tempdir().full_path,
        {"admission_capacity": 12345},
        default_occurrence_threshold=2,
      ).train()
    self.assertEqual(configs[0]["tables"][0]["admission_capacity"], 12345)


class ExpiryTest(absltest.TestCase):
  def _evicted(self, folder: str) -> list[float]:
    """The points of the table's curve of evicted rows."""
    return [
      value.simple_value
      for path in sorted(glob.glob(os.path.join(folder, "events.*")))
      for event in tf.compat.v1.train.summary_iterator(path)
      for value in event.summary.value
      if value.tag == "tables/id/evicted"
    ]

  def test_expired_rows_are_not_saved(self):
    class WaitBeforeTheLast(tf.compat.v1.train.SessionRunHook):
      step = 0

      def before_run(self, run_context):
        self.step += 1
        if self.step == _STEPS:
          time.sleep(7)

    folder = self.create_tempdir().full_path
    trained = _estimator(folder, expire_time=5 / 86400)
    trained.train(hooks=[WaitBeforeTheLast()])
    # The last batch has only the ids _OFTEN and -1.
    np.testing.assert_allclose(_rows(trained), [1 + 0.1 * _STEPS, 0, 0, 0], rtol=1e-6)
    self.assertEqual(self._evicted(folder), [2])

  def test_expired_rows_go_beside_training(self):
    class Wait(tf.compat.v1.train.SessionRunHook):
      def before_run(self, run_context):
        time.sleep(1.2)

    folder = self.create_tempdir().full_path
    _estimator(folder, {"evict_every_hours": 0.2 / 3600}, expire_time=2 / 86400).train(
      hooks=[Wait()]
    )
    *beside, _ = self._evicted(folder)  # The last one is of the checkpoint.
    self.assertGreaterEqual(sum(beside), 2)


if __name__ == "__main__":
  absltest.main()
