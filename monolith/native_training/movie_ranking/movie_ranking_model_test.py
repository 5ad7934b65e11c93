import json
import os

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data.example_parsing import serialize_one
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.movie_ranking import movie_ranking_model, rating_table
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel


def _model(**settings) -> MovieRankingModel:
  return MovieRankingModel.params().set(dataset="synthetic", **settings).instantiate()


def _count(dataset: tf.data.Dataset) -> int:
  return sum(len(batch["label"]) for batch in dataset)


class InputFnTest(absltest.TestCase):
  def _input(self, model: MovieRankingModel, mode: str, tf_config=None):
    environment = {"TF_CONFIG": json.dumps(tf_config)} if tf_config else {}
    with absltest.mock.patch.dict(os.environ, environment):
      if not tf_config:
        os.environ.pop("TF_CONFIG", None)
      return model.input_fn(mode)

  def test_features(self):
    model = _model(num_ratings=10_000, epochs=1)
    for mode in (tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.EVAL):
      batch = next(iter(self._input(model, mode)))
      self.assertEqual(batch["mov"].shape.as_list(), [512, 1], mode)
      self.assertIsInstance(batch["uid"], tf.RaggedTensor)
      self.assertEqual(batch["label"].shape.as_list(), [512, 1], mode)

  def test_workers_share_the_ratings(self):
    model = _model(num_ratings=200_000, epochs=1)
    model.p.train.per_replica_batch_size = 1024
    alone = _count(self._input(model, tf.estimator.ModeKeys.TRAIN))
    shares = []
    for task in (("chief", 0), ("worker", 0), ("worker", 1)):
      config = {
        "cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]},
        "task": {"type": task[0], "index": task[1]},
      }
      shares.append(_count(self._input(model, tf.estimator.ModeKeys.TRAIN, config)))
    self.assertAlmostEqual(sum(shares), alone, delta=3 * 1024)
    self.assertGreater(min(shares), 0.2 * alone)

  def test_evaluation_reads_the_held_out_ratings_on_every_worker(self):
    model = _model(num_ratings=20_000)
    counts = {
      _count(
        self._input(
          model,
          tf.estimator.ModeKeys.EVAL,
          {
            "cluster": {"worker": ["b:1", "c:1"]},
            "task": {"type": "worker", "index": index},
          },
        )
      )
      for index in range(2)
    }
    self.assertLen(counts, 1)
    self.assertAlmostEqual(counts.pop(), 2000, delta=150)

  def test_real_ratings(self):
    calls = []

    def load(size, folder):
      calls.append((size, folder))
      columns = rating_table.RatingColumns(
        *(tf.range(1000, dtype=t).numpy() for t in (tf.int64, tf.int64, tf.float32))
      )
      return rating_table.RatingTable("100k", columns, columns.take(slice(0, 100)))

    model = MovieRankingModel.params().set(dataset="1m", epochs=2, ratings_dir="/r")
    model.train.per_replica_batch_size = 100
    with absltest.mock.patch.object(movie_ranking_model, "load_rating_table", load):
      train = self._input(model.instantiate(), tf.estimator.ModeKeys.TRAIN)
      test = self._input(model.instantiate(), tf.estimator.ModeKeys.EVAL)
      self.assertEqual((_count(train), _count(test)), (2000, 100))
    self.assertEqual(calls, [("1m", "/r")] * 2)


class ServingTest(absltest.TestCase):
  def test_receives_plain_ids_and_examples(self):
    example = serialize_one({"mov": [7], "uid": [8], "label": [3.0]})
    inputs = {
      "serving_default": {"mov": [[7]], "uid": [[8]]},
      "examples": {"examples": [example]},
    }
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      receivers = _model().serving_input_receiver_fn()
      self.assertEqual(set(receivers), set(inputs))
      for name, receiver in receivers.items():
        tensors = receiver.receiver_tensors
        self.assertEqual(set(tensors), set(inputs[name]))
        ids = session.run(
          receiver.features, {tensors[key]: inputs[name][key] for key in tensors}
        )
        self.assertEqual(
          {key: ids[key].to_list() for key in ids}, {"mov": [[7]], "uid": [[8]]}
        )

  def test_both_signatures_predict_as_the_model_does(self):
    job = Estimator(
      _model(num_ratings=20_000, epochs=1),
      RunnerConfig(model_dir=self.create_tempdir().full_path),
    )
    job.train(max_steps=20)
    wanted = next(job.predict(yield_single_examples=False))["rank"]
    ids = next(iter(job._model.input_fn(tf.estimator.ModeKeys.PREDICT)))
    ids = {name: ids[name].to_tensor() for name in ("mov", "uid")}
    served = tf.saved_model.load(job.export_saved_model()).signatures
    np.testing.assert_allclose(
      served["serving_default"](**ids)["rank"], wanted, rtol=2e-3
    )
    examples = [
      serialize_one({"mov": movie, "uid": user})
      for movie, user in zip(ids["mov"].numpy(), ids["uid"].numpy(), strict=True)
    ]
    np.testing.assert_allclose(
      served["examples"](examples=tf.constant(examples))["rank"], wanted, rtol=2e-3
    )


if __name__ == "__main__":
  absltest.main()
