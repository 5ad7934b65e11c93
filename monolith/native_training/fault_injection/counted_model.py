"""A model that shows which of its batches it has been trained on, and how often.

Every batch of every worker has a number, which is an id with a row of one float. SGD
adds exactly 1 to it whenever the batch is trained on, so that the rows of a checkpoint
say what the tables have seen. A dense variable counts the same. Beside that the model
learns, as others do, a number for each of many ids from sums of two; an id occurs in a
short part of the data only, so that the loss of what was lost stays high.
"""

import json
import os

import numpy as np
import tensorflow as tf

from monolith.native_training import entry
from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.fault_injection import asked
from monolith.native_training.native_model import MonolithModel

_IDS_PER_PART = 20
_BATCHES_PER_PART = 10
_DIM = 64  # Rows large enough that writing them takes milliseconds.
_HELD_OUT_PER_BATCH = 4

# The names of its predictions, in metrics.
SUM = "sum"
TIMES = "times_trained"
DENSE_TIMES = "times_trained_by_dense"


def _numbered_batches(size: int, seed: int) -> dict[str, np.ndarray]:
  """Data of all workers, in order: `size` examples for each batch's number."""
  batches = np.arange(asked.WORKERS * asked.BATCHES).repeat(size)[:, np.newaxis]
  random = np.random.default_rng(seed)
  ids = random.integers(0, _IDS_PER_PART, (len(batches), 2))
  ids += batches // _BATCHES_PER_PART * _IDS_PER_PART
  label = np.sin(ids * 1.7).sum(axis=1, keepdims=True).astype(np.float32)
  return {
    "left": ids[:, :1],
    "right": ids[:, 1:],
    "batch": batches,
    "label": label,
  }


def _this_worker() -> int:
  task = json.loads(os.environ["TF_CONFIG"])["task"]
  return task["index"]


class CountedModel(MonolithModel):
  """See the module."""

  def input_fn(self, mode):
    if mode != tf.estimator.ModeKeys.TRAIN:
      held_out = _numbered_batches(_HELD_OUT_PER_BATCH, seed=2)
      return tf.data.Dataset.from_tensor_slices(held_out).batch(asked.BATCHES)
    data = _numbered_batches(asked.BATCH_SIZE, seed=1)
    examples = asked.BATCHES * asked.BATCH_SIZE
    share = slice(_this_worker() * examples, (_this_worker() + 1) * examples)
    dataset = tf.data.Dataset.from_tensor_slices({k: v[share] for k, v in data.items()})
    return dataset.batch(asked.BATCH_SIZE, drop_remainder=True).repeat(asked.PASSES)

  def model_fn(self, features, mode):
    for name in ("left", "right", "batch"):
      self.create_embedding_feature_column(name)
    vectors = self.lookup_embedding_slice(
      ["left", "right"],
      "vec",
      _DIM,
      optimizer=entry.AdagradOptimizer(0.3),
      out_type="concat",
    )
    (times,) = self.lookup_embedding_slice(
      ["batch"],
      "times",
      1,
      initializer=entry.ZerosInitializer(),
      optimizer=entry.SgdOptimizer(1.0),
    )
    dense_times = _dense_times(features["batch"], mode)
    pred = tf.keras.layers.Dense(1)(vectors)
    label = features["label"]
    # Adds nothing, and has a gradient of -1 for the batch's row.
    counting = tf.reduce_mean(tf.stop_gradient(times) - times)
    asked_times = tf.fill(tf.shape(times), float(asked.PASSES))
    return EstimatorSpec(
      label=[label, asked_times, asked_times],
      pred=[pred, times, dense_times],
      head_name=[SUM, TIMES, DENSE_TIMES],
      loss=tf.reduce_mean(tf.square(pred - label)) + counting,
      classification=False,
    )


def _dense_times(batch: tf.Tensor, mode: str) -> tf.Tensor:
  """How often the batch of each example was trained on, float `[n, 1]`."""
  times = tf.compat.v1.get_variable(
    "dense_times",
    [asked.WORKERS * asked.BATCHES],
    initializer=tf.compat.v1.zeros_initializer(),
    trainable=False,
    use_resource=True,
  )
  if mode == tf.estimator.ModeKeys.TRAIN:
    one = tf.IndexedSlices(tf.ones([1]), batch[0])
    update_ops = tf.compat.v1.GraphKeys.UPDATE_OPS
    tf.compat.v1.add_to_collection(update_ops, times.scatter_add(one))
  return tf.gather(times, batch)
