"""A small model, trained and exported by the Estimator, for tests to serve."""

from __future__ import annotations

import glob
import os

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from monolith.native_training.data.example_parsing import serialize_one
from monolith.native_training.entry import Fp32Compressor
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

NUM_USERS = 64
USERS = np.arange(NUM_USERS, dtype=np.int64)[:, None]
ITEMS = USERS * 7 + 1000
_MANY_USERS = 500_000


class TwoHeads(MonolithModel):
  """Two ids in, or serialized Examples of them; a score and a probability out."""

  # Exported as they are, so that predictions can be compared to the last bit.
  compressor = Fp32Compressor()

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
    user, item = self.lookup_embedding_slice(
      ["user", "item"], "vec", 8, compressor=self.compressor
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
    receiver = tf.estimator.export.ServingInputReceiver
    examples = tf.compat.v1.placeholder(tf.string, [None], name="examples")
    spec = {name: tf.io.FixedLenFeature([1], tf.int64) for name in ids}
    return {
      "serving_default": receiver(ids, ids),
      "examples": receiver(tf.io.parse_example(examples, spec), {"examples": examples}),
    }


class HalfTwoHeads(TwoHeads):
  """Its rows are exported as `entry.DEFAULT_COMPRESSOR` has them, in 16 bits."""

  compressor = None


class ManyUsers(TwoHeads):
  """Half a million rows, in 20 MB or more."""

  def input_fn(self, mode):
    users = np.arange(_MANY_USERS, dtype=np.int64)[:, None]
    score = np.zeros((_MANY_USERS, 1), np.float32)
    data = {"user": users, "item": users % 10, "score": score, "click": score}
    return tf.data.Dataset.from_tensor_slices(data).batch(_MANY_USERS // 5)


def bytes_of_tables(path: str) -> int:
  """Of an export: what a server holds at least while the version is loaded."""
  return sum(
    os.path.getsize(file) for file in glob.glob(os.path.join(path, "assets", "*"))
  )


def examples() -> np.ndarray:
  """`USERS` and `ITEMS` as serialized Examples."""
  return np.array(
    [serialize_one({"user": u, "item": i}) for u, i in zip(USERS, ITEMS, strict=True)],
    object,
  )


def export_sleeper(base_path: str, warm_up_seconds: float | None = None) -> None:
  """Writes a model of plain TensorFlow that takes as many seconds as its input says.

  Args:
    base_path: folder; the version is 1.
    warm_up_seconds: of the request that it is warmed up with; None for none.
  """
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    seconds = tf.compat.v1.placeholder(tf.float64, [None], "seconds")
    end = tf.timestamp() + tf.reduce_max(seconds)
    with tf.control_dependencies([end]):
      turns = tf.while_loop(lambda i: tf.timestamp() < end, lambda i: i + 1, [0])
    with tf.control_dependencies(turns if isinstance(turns, list) else [turns]):
      slept = tf.identity(seconds)
    path = os.path.join(base_path, "1")
    tf.compat.v1.saved_model.simple_save(
      session, path, {"seconds": seconds}, {"slept": slept}
    )
  if warm_up_seconds is not None:
    log = prediction_log_pb2.PredictionLog()
    inputs = log.predict_log.request.inputs
    inputs["seconds"].CopyFrom(tf.make_tensor_proto([warm_up_seconds], tf.float64))
    folder = os.path.join(path, "assets.extra")
    os.mkdir(folder)
    file = os.path.join(folder, "tf_serving_warmup_requests")
    with tf.io.TFRecordWriter(file) as writer:
      writer.write(log.SerializeToString())


def export_counter(base_path: str) -> None:
  """Writes a model of plain TensorFlow that gives as many numbers, float32, as its
  input says.

  Args:
    base_path: folder; the version is 1.
  """
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    count = tf.compat.v1.placeholder(tf.int64, [None], "count")
    numbers = tf.cast(tf.range(tf.reduce_sum(count)), tf.float32)
    tf.compat.v1.saved_model.simple_save(
      session, os.path.join(base_path, "1"), {"count": count}, {"numbers": numbers}
    )


class ExportedModel:
  """Trains and exports a model.

  Args:
    model_dir: folder for it.
    model: `TwoHeads`, or what is made of it.
  """

  def __init__(self, model_dir: str, model: type[MonolithModel] = TwoHeads):
    self._job = Estimator(model.params(), RunnerConfig(model_dir=model_dir))
    self.base_path = os.path.join(model_dir, "exported_models")

  def train_and_export(self, steps: int = 5) -> int:
    """Trains further; returns the version exported."""
    self._job.train(steps=steps)
    return int(os.path.basename(self._job.export_saved_model()))

  def predict(self) -> dict[str, np.ndarray]:
    """What `Estimator.predict` gives for `USERS` and `ITEMS`."""
    (batch,) = self._job.predict(yield_single_examples=False)
    return batch
