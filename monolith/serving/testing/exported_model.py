"""A small model, trained and exported by the Estimator, for tests to serve."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

from monolith.native_training.entry import Fp32Compressor
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

NUM_USERS = 64
USERS = np.arange(NUM_USERS, dtype=np.int64)[:, None]
ITEMS = USERS * 7 + 1000


class TwoHeads(MonolithModel):
  """Two ids in; a score and a probability out."""

  def input_fn(self, mode):
    score = np.sin(USERS).astype(np.float32)
    data = {
      "user": USERS,
      "item": ITEMS,
      "score": score,
      "click": (score > 0).astype(np.float32),
    }
    dataset = tf.data.Dataset.from_tensor_slices(data)
    if mode == tf.estimator.ModeKeys.TRAIN:
      dataset = dataset.repeat(50)
    return dataset.batch(NUM_USERS)

  def model_fn(self, features, mode):
    for name in ("user", "item"):
      self.create_embedding_feature_column(name)
    # Exported as they are, so that predictions can be compared to the last bit.
    user, item = self.lookup_embedding_slice(
      ["user", "item"], "vec", 8, compressor=Fp32Compressor()
    )
    hidden = tf.concat([user, item], axis=1)
    hidden = tf.keras.layers.Dense(16, activation="relu")(hidden)
    score = tf.keras.layers.Dense(1)(hidden)
    click = tf.sigmoid(tf.keras.layers.Dense(1)(hidden))
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(None, [score, click], ["score", "click"])
    loss = tf.reduce_mean(tf.square(score - features["score"]))
    loss += tf.reduce_mean(tf.square(click - features["click"]))
    return EstimatorSpec(
      [features["score"], features["click"]],
      [score, click],
      ["score", "click"],
      loss,
      tf.compat.v1.train.AdagradOptimizer(0.05),
      classification=[False, True],
    )

  def serving_input_receiver_fn(self):
    ids = {
      name: tf.compat.v1.placeholder(tf.int64, [None, 1], name=name)
      for name in ("user", "item")
    }
    return tf.estimator.export.ServingInputReceiver(ids, ids)


def export_sleeper(base_path: str) -> None:
  """Writes a model of plain TensorFlow that takes as many seconds as its input says.

  Args:
    base_path: folder; the version is 1.
  """
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    seconds = tf.compat.v1.placeholder(tf.float64, [None], "seconds")
    end = tf.timestamp() + tf.reduce_max(seconds)
    with tf.control_dependencies([end]):
      turns = tf.while_loop(lambda i: tf.timestamp() < end, lambda i: i + 1, [0])
    with tf.control_dependencies(turns if isinstance(turns, list) else [turns]):
      slept = tf.identity(seconds)
    tf.compat.v1.saved_model.simple_save(
      session, os.path.join(base_path, "1"), {"seconds": seconds}, {"slept": slept}
    )


class ExportedModel:
  """Trains and exports `TwoHeads`.

  Args:
    model_dir: folder for it.
  """

  def __init__(self, model_dir: str):
    self._job = Estimator(TwoHeads.params(), RunnerConfig(model_dir=model_dir))
    self.base_path = os.path.join(model_dir, "exported_models")

  def train_and_export(self, steps: int = 5) -> int:
    """Trains further; returns the version exported."""
    self._job.train(steps=steps)
    return int(os.path.basename(self._job.export_saved_model()))

  def predict(self) -> dict[str, np.ndarray]:
    """What `Estimator.predict` gives for `USERS` and `ITEMS`."""
    (batch,) = self._job.predict(yield_single_examples=False)
    return batch
