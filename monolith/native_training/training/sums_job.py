"""One process of a small job, for tests of real processes: learns sums of two ids'
numbers, then evaluates.

The role comes from `TF_CONFIG`, `--model_dir` and the like from `RunnerConfig`'s flags.
"""

import json
import os
import threading
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import job_saves

BATCH_SIZE = 16
EXAMPLES = 3200

_ENDLESS = flags.DEFINE_bool("endless", False, "Read the data again and again.")
_EXPORT_WHEN = flags.DEFINE_string(
  "export_when", None, "Export what is saved, as soon as this file is there."
)
_FAIL_WORKER = flags.DEFINE_integer("fail_worker", None, "Worker whose data fail.")
_LONG_SAVE_SECS = flags.DEFINE_float("long_save_secs", None, "Told of from then on.")
_HUNG_SAVE_SECS = flags.DEFINE_float("hung_save_secs", None, "Given up from then on.")
_MAX_STEPS = flags.DEFINE_integer("max_steps", None, "Global step to stop at.")
_SLOW_WORKER = flags.DEFINE_integer("slow_worker", None, "Waits 4 times.")
_STEP_SECS = flags.DEFINE_float("step_secs", 0.0, "Wait so long after each step.")
_STEPS = flags.DEFINE_integer("steps", None, "Global steps to go.")


class Sums(MonolithModel):
  def input_fn(self, mode):
    random = np.random.default_rng(3)
    ids = random.integers(0, 40, (EXAMPLES, 2))
    label = np.sin(ids).sum(axis=1, keepdims=True).astype(np.float32)
    data = {"left": ids[:, :1], "right": ids[:, 1:], "label": label}
    dataset = tf.data.Dataset.from_tensor_slices(data)
    if mode == tf.estimator.ModeKeys.TRAIN:
      env = json.loads(os.environ["TF_CONFIG"])
      if env["task"]["index"] == _FAIL_WORKER.value:
        raise FileNotFoundError("the data of this worker are gone")
      dataset = dataset.shard(len(env["cluster"]["worker"]), env["task"]["index"])
      dataset = dataset.repeat(None if _ENDLESS.value else 1)
    return dataset.batch(BATCH_SIZE, drop_remainder=True)

  def model_fn(self, features, mode):
    for name in ("left", "right"):
      self.create_embedding_feature_column(name)
    left, right = self.lookup_embedding_slice(["left", "right"], "vec", 8)
    hidden = tf.keras.layers.Dense(16, activation="relu")(tf.concat((left, right), 1))
    pred = tf.keras.layers.Dense(1)(hidden)
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(label=None, pred=pred, head_name="sum")
    label = features["label"]
    return EstimatorSpec(
      label=label,
      pred=pred,
      head_name="sum",
      loss=tf.reduce_mean(tf.square(pred - label)),
      classification=False,
    )

  def serving_input_receiver_fn(self):
    # Training itself calls this too, to see whether there is one.
    if threading.current_thread() is not threading.main_thread():
      while not os.path.exists(_EXPORT_WHEN.value):
        time.sleep(0.1)
    inputs = {
      name: tf.compat.v1.placeholder(tf.int64, [None, 1], name=name)
      for name in ("left", "right")
    }
    return tf.estimator.export.ServingInputReceiver(inputs, inputs)


class Slowly(tf.compat.v1.train.SessionRunHook):
  """Waits after each step."""

  def after_run(self, run_context, run_values):
    del run_context, run_values
    task = json.loads(os.environ["TF_CONFIG"])["task"]
    is_slow = task["index"] == _SLOW_WORKER.value
    time.sleep(_STEP_SECS.value * (4 if is_slow else 1))


def main(_):
  if _LONG_SAVE_SECS.value:
    job_saves._LONG_SECS = _LONG_SAVE_SECS.value
    job_saves._HANGS_SECS = _HUNG_SAVE_SECS.value
  config = RunnerConfig.from_flags()
  params = Sums.params()
  params.serving.export_when_saving = _EXPORT_WHEN.value is not None
  job = Estimator(params.instantiate(), config)
  job.train(steps=_STEPS.value, max_steps=_MAX_STEPS.value, hooks=[Slowly()])
  if config.server_type in ("chief", "worker"):
    # What was trained is there for every worker that has returned from `train`.
    print("loss", job.evaluate()["loss"])


if __name__ == "__main__":
  RunnerConfig.define_flags()
  app.run(main)
