"""The tutorial's class as a reader types it, trained on real ratings."""

import json
import os
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import absltest

from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.movie_ranking import ratings as movie_ratings
from monolith.native_training.native_model import MonolithModel


class MovieRankingModel(MonolithModel):
  def __init__(self, params):
    super().__init__(params)
    self.p = params
    self.p.serving.export_when_saving = True

  def input_fn(self, mode):
    env = json.loads(os.environ["TF_CONFIG"])
    cluster = env["cluster"]
    worker_count = len(cluster.get("worker", [])) + len(cluster.get("chief", []))
    dataset = get_preprocessed_dataset("25m")
    dataset = dataset.shard(worker_count, env["task"]["index"])
    return (
      dataset.batch(512, drop_remainder=True).map(to_ragged).prefetch(tf.data.AUTOTUNE)
    )

  def model_fn(self, features, mode):
    for s_name in ["mov", "uid"]:
      self.create_embedding_feature_column(s_name)
    mov_embedding, user_embedding = self.lookup_embedding_slice(
      features=["mov", "uid"], slice_name="vec", slice_dim=32
    )
    ratings = tf.keras.Sequential(
      [
        tf.keras.layers.Dense(256, activation="relu"),
        tf.keras.layers.Dense(64, activation="relu"),
        tf.keras.layers.Dense(1),
      ]
    )
    rank = ratings(tf.concat((user_embedding, mov_embedding), axis=1))
    label = features["label"]
    loss = tf.reduce_mean(tf.losses.mean_squared_error(rank, label))
    optimizer = tf.compat.v1.train.AdagradOptimizer(0.05)
    return EstimatorSpec(
      label=label,
      pred=rank,
      head_name="rank",
      loss=loss,
      optimizer=optimizer,
      classification=False,
    )

  def serving_input_receiver_fn(self):
    return tf.estimator.export.ServingInputReceiver(
      {
        "mov": tf.compat.v1.placeholder(tf.int64, [None, 1]),
        "uid": tf.compat.v1.placeholder(tf.int64, [None, 1]),
        "label": tf.compat.v1.placeholder(tf.float32, [None, 1]),
      }
    )


def get_preprocessed_dataset(size="100k") -> tf.data.Dataset:
  ratings = tfds.load(f"movielens/{size}-ratings", split="train")
  max_b = (1 << 63) - 1
  return ratings.map(
    lambda x: {
      "mov": tf.strings.to_hash_bucket_fast([x["movie_title"]], max_b),
      "uid": tf.strings.to_hash_bucket_fast([x["user_id"]], max_b),
      "label": tf.expand_dims(x["user_rating"], axis=0),
    }
  )


def to_ragged(x):
  return {
    "mov": tf.RaggedTensor.from_tensor(x["mov"]),
    "uid": tf.RaggedTensor.from_tensor(x["uid"]),
    "label": x["label"],
  }


def _load(name: str, split: str) -> tf.data.Dataset:
  """`tfds.load`, but where MovieLens cannot be downloaded the fall-back's ratings."""
  assert split == "train"
  return movie_ratings.load_ratings(name.removeprefix("movielens/").split("-")[0])


class TutorialTest(absltest.TestCase):
  def test_trains_and_evaluates(self):
    self.enter_context(mock.patch.object(tfds, "load", _load))
    self.assertNotIn("TF_CONFIG", os.environ)
    config = RunnerConfig(model_dir=self.create_tempdir().full_path)
    job = Estimator(MovieRankingModel.params().instantiate(), config)
    job.train(max_steps=190)
    metrics = job.evaluate(steps=50)
    self.assertEqual(metrics["global_step"], 190)
    # Guessing the mean of all ratings gives 1.126.
    self.assertLess(metrics["rank/rmse"], 1.0)
    stars = [float(p["rank"][0]) for p, _ in zip(job.predict("rank"), range(100))]  # noqa: B905
    self.assertGreater(max(stars) - min(stars), 0.5)
    self._check_export(job.export_saved_model(), stars)

  def _check_export(self, path: str, stars: list[float]) -> None:
    ratings = get_preprocessed_dataset().take(len(stars)).batch(len(stars))
    batch = next(iter(ratings))
    served = tf.saved_model.load(path).signatures["serving_default"]
    rank = served(mov=batch["mov"], uid=batch["uid"], label=batch["label"])["rank"]
    np.testing.assert_allclose(rank[:, 0], stars, rtol=2e-3)


if __name__ == "__main__":
  absltest.main()
