"""A model exported in parts answers as it does in one."""

import os

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.estimator import Estimator, EstimatorSpec, RunnerConfig
from monolith.native_training.native_model import MonolithModel

_IDS = np.arange(200, dtype=np.int64)[:, None]


class TwoTables(MonolithModel):
  def input_fn(self, mode):
    data = {"a": _IDS, "b": _IDS // 3, "label": np.cos(_IDS).astype(np.float32)}
    return tf.data.Dataset.from_tensor_slices(data).repeat(3).batch(20)

  def model_fn(self, features, mode):
    for name in ("a", "b"):
      self.create_embedding_feature_column(name)
    a, b = self.lookup_embedding_slice([("a", 4), ("b", 7)], "vec")
    pred = tf.keras.layers.Dense(1)(tf.concat([a, b], axis=1))
    self.add_extra_output("a", a)
    if mode == tf.estimator.ModeKeys.PREDICT:
      return EstimatorSpec(label=None, pred=pred, head_name="pred")
    label = features["label"]
    loss = tf.reduce_mean(tf.square(pred - label))
    return EstimatorSpec(
      label=label, pred=pred, head_name="pred", loss=loss, classification=False
    )

  def serving_input_receiver_fn(self):
    receiver = tf.estimator.export.ServingInputReceiver
    raw = {name: tf.compat.v1.placeholder(tf.int64, [None, 1]) for name in "ab"}
    both = tf.compat.v1.placeholder(tf.int64, [None, 2])
    return {
      "serving_default": receiver(raw),
      "both": receiver({"a": both[:, :1], "b": both[:, 1:]}, {"both": both}),
    }


def _job(model_dir: str, **serving) -> Estimator:
  params = TwoTables.params()
  for name, value in serving.items():
    setattr(params.serving, name, value)
  return Estimator(params.instantiate(), RunnerConfig(model_dir=model_dir))


class V2Parts:
  """An export loaded by `tf.saved_model.load`."""

  def __init__(self, path):
    self._models = {
      name: tf.saved_model.load(f"{path}/{name}") for name in os.listdir(path)
    }

  def __call__(self, part, signature, **inputs):
    inputs = {key: tf.constant(value) for key, value in inputs.items()}
    result = self._models[part].signatures[signature](**inputs)
    return {key: value.numpy() for key, value in result.items()}


class V1Parts:
  """An export loaded by the v1 loader."""

  def __init__(self, path):
    self._models = {}
    for name in os.listdir(path):
      session = tf.compat.v1.Session(graph=tf.Graph())
      with session.graph.as_default():
        model = tf.compat.v1.saved_model.load(session, ["serve"], f"{path}/{name}")
      self._models[name] = (session, model.signature_def)

  def __call__(self, part, signature, **inputs):
    session, signatures = self._models[part]
    signature = signatures[signature]
    return session.run(
      {key: info.name for key, info in signature.outputs.items()},
      {signature.inputs[key].name: value for key, value in inputs.items()},
    )


class DistributedTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model_dir = absltest.get_default_test_tmpdir()
    job = _job(cls.model_dir)
    job.train()
    # One id is unknown.
    cls.ids = {"a": np.append(_IDS, [[-5]], 0), "b": np.append(_IDS // 3, [[-5]], 0)}
    served = tf.saved_model.load(job.export_saved_model())
    inputs = {key: tf.constant(value) for key, value in cls.ids.items()}
    cls.wanted = served.signatures["serving_default"](**inputs)["pred"].numpy()
    cls.wanted_a = served.signatures["a"](**inputs)["a"].numpy()

  def _ask(self, call, num_ps, requests, signature, **inputs):
    asked = call("entry", requests, **inputs)
    self.assertLen(asked, num_ps)
    values = {
      f"values_{i}": call(f"ps_{i}", "lookup", request=asked[f"request_{i}"])["values"]
      for i in range(num_ps)
    }
    self.assertGreater(min(np.count_nonzero(v) for v in values.values()), 0)
    return call("entry", signature, **inputs, **values)

  def test_parts_answer_as_one_model(self):
    both = np.concatenate([self.ids["a"], self.ids["b"]], axis=1)
    for num_ps in (1, 3):
      job = _job(self.model_dir, export_mode="distributed", num_ps=num_ps)
      path = job.export_saved_model()
      names = ["entry", *(f"ps_{i}" for i in range(num_ps))]
      self.assertCountEqual(os.listdir(path), names)
      self.assertNotIn("assets", os.listdir(f"{path}/entry"))
      for call in (V1Parts(path), V2Parts(path)):
        for requests, signature, inputs in (
          ("requests", "serving_default", self.ids),
          ("both_requests", "both", {"both": both}),
        ):
          got = self._ask(call, num_ps, requests, signature, **inputs)
          np.testing.assert_array_equal(got["pred"], self.wanted)
        got = self._ask(call, num_ps, "requests", "a", **self.ids)
        np.testing.assert_array_equal(got["a"], self.wanted_a)

  def test_values_that_answer_another_request_are_refused(self):
    job = _job(self.model_dir, export_mode="distributed", num_ps=1)
    call = V1Parts(job.export_saved_model())
    request = call("entry", "requests", **self.ids)["request_0"]
    values = call("ps_0", "lookup", request=request)["values"]
    for wrong in (values[:-1], np.append(values, values[:1]), values[:0]):
      with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError,
        rf"values\[0\] .* got {len(wrong)}, wanted {len(values)}",
      ):
        call("entry", "serving_default", **self.ids, values_0=wrong)
    none = {key: ids[:0] for key, ids in self.ids.items()}
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "got 1, wanted 0"):
      call("entry", "serving_default", **none, values_0=values[:1])

  def test_settings_are_checked(self):
    for serving, message in (
      ({"export_mode": "other"}, "got 'other', wanted 'standalone' or 'distributed'"),
      ({"export_mode": "distributed", "num_ps": 0}, "num_ps: got 0"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        _job(self.model_dir, **serving).export_saved_model()


if __name__ == "__main__":
  absltest.main()
