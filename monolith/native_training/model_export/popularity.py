"""Models that tests export: how popular users are."""

import numpy as np
import tensorflow as tf

from monolith.native_training import entry
from monolith.native_training.estimator import EstimatorSpec
from monolith.native_training.native_model import MonolithModel

USERS = np.arange(40, dtype=np.int64)[:, None]


class Popularity(MonolithModel):
  scale_shape = ()
  dim = 3
  compressor = entry.Fp32Compressor()

  def input_fn(self, mode):
    data = {"user": USERS, "label": np.sin(USERS).astype(np.float32)}
    return tf.data.Dataset.from_tensor_slices(data).repeat(5).batch(8)

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("user")
    (user,) = self.lookup_embedding_slice(
      ["user"], "vec", self.dim, compressor=self.compressor
    )
    pred = tf.reduce_sum(user, axis=1, keepdims=True)
    pred *= tf.compat.v1.get_variable(
      "scale", self.scale_shape, initializer=tf.ones_initializer()
    )
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(label=None, pred=pred, head_name="score")
    loss = tf.reduce_mean(tf.square(pred - features["label"]))
    return EstimatorSpec(
      label=features["label"],
      pred=pred,
      head_name="score",
      loss=loss,
      classification=False,
    )

  def serving_input_receiver_fn(self):
    user = tf.compat.v1.placeholder(tf.int64, [None, 1], name="user")
    return tf.estimator.export.ServingInputReceiver({"user": user}, {"user": user})


class PopularityWithItems(Popularity):
  """It has gained a feature, and with it a table of another name."""

  def input_fn(self, mode):
    return super().input_fn(mode).map(lambda data: {**data, "item": data["user"]})

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("item", shared_name="things")
    self.lookup_embedding_slice(["item"], "vec", 2)
    return super().model_fn(features, mode)

  def serving_input_receiver_fn(self):
    inputs = {
      name: tf.compat.v1.placeholder(tf.int64, [None, 1], name=name)
      for name in ("user", "item")
    }
    return tf.estimator.export.ServingInputReceiver(inputs, inputs)
