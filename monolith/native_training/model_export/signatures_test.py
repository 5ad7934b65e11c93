"""What an exported model receives, and what it gives for that."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data.example_parsing import serialize_one
from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

_IDS = np.arange(20, dtype=np.int64)[:, None]
_WEIGHTS = np.linspace(0, 1, 20, dtype=np.float32)[:, None]


class Weighted(MonolithModel):
  """Two heads and extra outputs, with Keras layers and a dense feature."""

  def input_fn(self, mode):
    data = {"id": _IDS, "weight": _WEIGHTS, "label": np.cos(_IDS).astype(np.float32)}
    return tf.data.Dataset.from_tensor_slices(data).repeat(4).batch(5)

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("id")
    (vec,) = self.lookup_embedding_slice(["id"], "vec", 4)
    hidden = tf.keras.layers.Dense(3, activation="relu")(vec)
    first = tf.keras.layers.Dense(1)(hidden) * features["weight"]
    second = tf.reduce_sum(vec, axis=1, keepdims=True)
    self.add_extra_output("embedding", vec)
    self.add_extra_output("inside", {"hidden": hidden, "twice": 2 * first})
    pred = {"first": first, "second": second}
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(label=None, pred=pred)
    label = features["label"]
    loss = tf.reduce_mean(tf.square(first - label) + tf.square(second - label))
    labels = {"first": label, "second": label}
    return EstimatorSpec(label=labels, pred=pred, loss=loss, classification=False)

  def _raw(self):
    features = {
      "id": tf.compat.v1.placeholder(tf.int64, [None, 1]),
      "weight": tf.compat.v1.placeholder(tf.float32, [None, 1]),
    }
    return tf.estimator.export.ServingInputReceiver(features, features)

  def serving_input_receiver_fn(self):
    examples = tf.compat.v1.placeholder(tf.string, [None])
    parsed = tf.io.parse_example(
      examples,
      {
        "id": tf.io.FixedLenFeature([1], tf.int64),
        "weight": tf.io.FixedLenFeature([1], tf.float32),
      },
    )
    return {
      "examples": tf.estimator.export.ServingInputReceiver(
        parsed, {"examples": examples}
      ),
      "serving_default": self._raw(),
    }


def _receives(function):
  """The model with another `serving_input_receiver_fn`."""

  class Other(Weighted):
    def serving_input_receiver_fn(self):
      return function(self)

  return Other


class SignaturesTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.job = cls._job(Weighted)
    cls.job.train()
    cls.path = cls.job.export_saved_model()
    cls.raw = {"id": _IDS, "weight": _WEIGHTS}
    cls.examples = [
      serialize_one({"id": i, "weight": w})
      for i, w in zip(_IDS.tolist(), _WEIGHTS.tolist(), strict=True)
    ]

  @staticmethod
  def _job(model, model_dir=None):
    config = RunnerConfig(model_dir=model_dir or absltest.get_default_test_tmpdir())
    return Estimator(model.params().instantiate(), config)

  def _wanted(self):
    predicted = [p for p, _ in zip(self.job.predict(), _IDS)]  # noqa: B905
    return {key: np.stack([p[key] for p in predicted]) for key in ("first", "second")}

  def _check(self, call, names):
    """Checks every signature, given a function that calls them."""
    self.assertCountEqual(
      names,
      [
        "serving_default",
        "embedding",
        "inside",
        "examples",
        "examples_embedding",
        "examples_inside",
      ],
    )
    wanted = self._wanted()
    for prefix, default, inputs in (
      ("", "serving_default", self.raw),
      ("examples_", "examples", {"examples": self.examples}),
    ):
      predictions = call(default, inputs)
      self.assertCountEqual(predictions, ["first", "second"])
      for key, want in wanted.items():
        np.testing.assert_allclose(predictions[key], want, atol=1e-3)
      vec = call(f"{prefix}embedding", inputs)["embedding"]
      np.testing.assert_allclose(
        np.sum(vec, 1, keepdims=True), predictions["second"], atol=1e-6
      )
      inside = call(f"{prefix}inside", inputs)
      self.assertEqual(inside["hidden"].shape, (20, 3))
      np.testing.assert_allclose(inside["twice"], 2 * predictions["first"], atol=1e-6)

  def test_every_signature_with_the_v2_loader(self):
    served = tf.saved_model.load(self.path)

    def call(name, inputs):
      tensors = {key: tf.constant(value) for key, value in inputs.items()}
      result = served.signatures[name](**tensors)
      return {key: value.numpy() for key, value in result.items()}

    self._check(call, list(served.signatures))

  def test_every_signature_with_the_v1_loader(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      model = tf.compat.v1.saved_model.load(
        session, [tf.saved_model.SERVING], self.path
      )

      def call(name, inputs):
        signature = model.signature_def[name]
        return session.run(
          {key: info.name for key, info in signature.outputs.items()},
          {signature.inputs[key].name: value for key, value in inputs.items()},
        )

      # The init op has a signature as well.
      names = [n for n in model.signature_def if not n.startswith("__")]
      self._check(call, names)

  def test_a_receiver_without_a_feature_is_named(self):
    def without(model):
      raw = model._raw()
      other = tf.estimator.export.ServingInputReceiver(
        {"id": raw.features["id"]}, {"id": raw.features["id"]}
      )
      return {"serving_default": raw, "short": other}

    with self.assertRaisesRegex(ValueError, "'short': got features id.*'weight'"):
      self._job(_receives(without), self.job.model_dir).export_saved_model()

  def test_a_feature_of_another_kind_is_named(self):
    def ragged(model):
      raw = model._raw()
      features = {**raw.features, "id": tf.RaggedTensor.from_tensor(raw.features["id"])}
      other = tf.estimator.export.ServingInputReceiver(features, raw.receiver_tensors)
      return {"serving_default": raw, "ragged": other}

    with self.assertRaisesRegex(ValueError, "'ragged': feature 'id' is tf.Ragged"):
      self._job(_receives(ragged), self.job.model_dir).export_saved_model()

  def test_what_is_no_receiver_is_refused(self):
    for function, error, message in (
      (lambda model: model._raw().features, TypeError, "returned"),
      (lambda model: None, TypeError, "returned NoneType"),
      (lambda model: {"other": model._raw()}, ValueError, "wanted one named"),
      (lambda model: {}, ValueError, "wanted one named"),
    ):
      with self.assertRaisesRegex(error, message):
        self._job(_receives(function), self.job.model_dir).export_saved_model()

  def test_alternatives_are_refused(self):
    def with_alternatives(model):
      raw = model._raw()
      raw.receiver_tensors_alternatives = {"other": raw.receiver_tensors}
      return raw

    with self.assertRaisesRegex(ValueError, "'serving_default' with .*_alternatives"):
      self._job(_receives(with_alternatives), self.job.model_dir).export_saved_model()

  def test_extra_outputs_are_checked(self):
    def adds(*calls):
      class Other(Weighted):
        def model_fn(self, features, mode):
          for name, outputs in calls:
            self.add_extra_output(name, outputs)
          return super().model_fn(features, mode)

      return Other

    for calls, message in (
      ([("embedding", tf.constant)], "wanted a tensor"),
      ([("x", {})], "got none"),
      ([("x", {"y": 1.0})], "got 1.0 for 'y'"),
      ([("", {})], "wanted that of a signature"),
      ([("serving_default", {})], "wanted that of a signature"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        self._job(adds(*calls), self.job.model_dir).export_saved_model()


if __name__ == "__main__":
  absltest.main()
