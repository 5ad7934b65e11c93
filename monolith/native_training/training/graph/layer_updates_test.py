import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.graph import (
  layer_updates,
  model_graph,
  train_step,
)

_MOMENTUM = 0.75


def _of_compat(x, training):
  return tf.compat.v1.layers.batch_normalization(
    x, momentum=_MOMENTUM, training=training
  )


def _of_keras(x, training):
  return tf.keras.layers.BatchNormalization(momentum=_MOMENTUM)(x, training=training)


def _of_keras_model(x, training):
  layers = tf.keras.Sequential([tf.keras.layers.BatchNormalization(momentum=_MOMENTUM)])
  return layers(x, training=training)


def _of_keras_functions(x, training):
  inputs = tf.keras.Input([2])
  outputs = tf.keras.layers.BatchNormalization(momentum=_MOMENTUM)(inputs)
  return tf.keras.Model(inputs, outputs)(x, training=training)


def _of_subclass(x, training):
  class Counting(tf.keras.layers.Layer):
    def build(self, input_shape):
      self.moving_mean = self.add_weight(
        "moving_mean", [2], initializer="zeros", trainable=False
      )

    def call(self, x):
      self.add_update(self.moving_mean.assign_add(tf.reduce_mean(x, axis=0) / 4))
      return x

  return Counting()(x) * tf.compat.v1.get_variable("weight", [], use_resource=True)


class _Model(MonolithModel):
  @classmethod
  def params(cls):
    p = super().params()
    p.define("layer", None, "Function of the input and of whether it trains.")
    return p

  def input_fn(self, mode):
    raise NotImplementedError

  def model_fn(self, features, mode):
    x = self.p.layer(features["x"], mode == tf.estimator.ModeKeys.TRAIN)
    pred = tf.reduce_sum(x, axis=1)
    return tf.reduce_mean(tf.square(pred - 1)), None, pred


def _means_after_step(layer, mode) -> np.ndarray:
  """The moving mean after one step on examples whose mean is (2, 6)."""
  params = _Model.params().set(layer=layer)
  model = params.instantiate()
  with tf.Graph().as_default():
    tf.compat.v1.train.get_or_create_global_step()
    features = {"x": tf.constant([[1.0, 4.0], [3.0, 8.0]])}
    graph = model_graph.build(model, features, mode)
    op, _ = train_step.train_op(model, graph)
    (mean,) = [v for v in tf.compat.v1.global_variables() if "moving_mean" in v.name]
    with tf.compat.v1.Session() as session:
      session.run(tf.compat.v1.global_variables_initializer())
      session.run(op)
      return session.run(mean)


class LayerUpdatesTest(parameterized.TestCase):
  @parameterized.parameters(
    _of_compat, _of_keras, _of_keras_model, _of_keras_functions, _of_subclass
  )
  def test_a_step_of_training_moves_the_mean(self, layer):
    mean = _means_after_step(layer, tf.estimator.ModeKeys.TRAIN)
    np.testing.assert_allclose(mean, [0.5, 1.5], rtol=1e-6)

  @parameterized.parameters(_of_compat, _of_keras, _of_keras_model, _of_keras_functions)
  def test_a_layer_that_does_not_train_keeps_it(self, layer):
    mean = _means_after_step(layer, tf.estimator.ModeKeys.EVAL)
    np.testing.assert_array_equal(mean, [0, 0])

  def test_layers_are_as_before_afterwards(self):
    before = tf.keras.layers.Layer.add_update
    with self.assertRaises(KeyError), layer_updates.collected():
      raise KeyError
    self.assertIs(tf.keras.layers.Layer.add_update, before)


if __name__ == "__main__":
  absltest.main()
