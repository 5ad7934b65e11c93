"""Bodies of answers."""

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.predictor import Prediction
from monolith.serving.rest import json_response
from monolith.serving.servable.signature import Signature, TensorSpec


def _text(by_rows: bool, **outputs: np.ndarray) -> str:
  specs = {
    name: TensorSpec(name, tf.as_dtype(value.dtype), None)
    for name, value in outputs.items()
  }
  prediction = Prediction(outputs, Signature("s", {}, specs, True), 1)
  return json_response.prediction(prediction, by_rows).decode()


def _answer(by_rows: bool, **outputs: np.ndarray):
  return json.loads(_text(by_rows, **outputs))


class JsonResponseTest(absltest.TestCase):
  def test_one_output_has_no_name(self):
    score = np.array([[1.5], [2.5]], np.float32)
    self.assertEqual(_answer(True, score=score), {"predictions": [[1.5], [2.5]]})
    self.assertEqual(_answer(False, score=score), {"outputs": [[1.5], [2.5]]})

  def test_several_have(self):
    outputs = {"a": np.array([1, 2]), "b": np.array([[0.5], [1.5]])}
    rows = [{"a": 1, "b": [0.5]}, {"a": 2, "b": [1.5]}]
    self.assertEqual(_answer(True, **outputs), {"predictions": rows})
    columns = {"a": [1, 2], "b": [[0.5], [1.5]]}
    self.assertEqual(_answer(False, **outputs), {"outputs": columns})

  def test_floats_come_back_bit_for_bit(self):
    bits = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    floats = bits.view(np.float32)
    floats = floats[np.isfinite(floats)]
    got = np.array(_answer(True, x=floats)["predictions"], np.float32)
    np.testing.assert_array_equal(got.view(np.uint32), floats.view(np.uint32))
    self.assertEqual(_text(True, x=np.float32([0.1])), '{"predictions":[0.1]}')

  def test_nan_and_infinity(self):
    text = _text(True, x=np.array([np.nan, np.inf, 1.0], np.float32))
    self.assertEqual(text, '{"predictions": [NaN, Infinity, 1.0]}')

  def test_bytes_and_text(self):
    outputs = {
      "name": np.array([b"a"], object),
      "raw_bytes": np.array([b"\xff"], object),
    }
    row = {"name": "a", "raw_bytes": {"b64": "/w=="}}
    self.assertEqual(_answer(True, **outputs), {"predictions": [row]})
    with self.assertRaisesRegex(ServingError, "'x' is not UTF-8: name it 'x_bytes'"):
      _text(True, x=np.array([b"\xff"], object))

  def test_half_floats(self):
    self.assertEqual(_answer(True, x=np.float16([1.5])), {"predictions": [1.5]})

  def test_dtypes_that_json_lacks_are_named(self):
    pattern = "output 'x': JSON has no values of complex64"
    with self.assertRaisesRegex(ServingError, pattern) as caught:
      _text(True, x=np.complex64([1 + 2j]))
    self.assertEqual(caught.exception.code, Code.UNIMPLEMENTED)

  def test_outputs_without_rows(self):
    with self.assertRaisesRegex(ServingError, "ask with 'inputs'"):
      _text(True, a=np.array(1.0), b=np.array([1.0]))
    self.assertEqual(_answer(False, a=np.array(1.0)), {"outputs": 1.0})

  def test_strings_take_no_more_memory_than_they_are(self):
    strings = np.array([b"x" * 1_000_000] + [b"a"] * 200, object)
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    self.assertIn("xxx", _text(True, x=strings, y=strings)[:100])
    self.assertLess(tracemalloc.get_traced_memory()[1], 20_000_000)

  def test_an_error_that_holds_no_text(self):
    error = json_response.error(invalid_argument("no input '\ud800'"))
    self.assertEqual(json.loads(error), {"error": "no input '?'"})

  def test_metadata_has_all_fields(self):
    definition = tf.compat.v1.MetaGraphDef().signature_def["s"]
    definition.inputs["x"].tensor_shape.dim.add().size = -1
    servable = SimpleNamespace(name="m", version=3, definitions={"s": definition})
    metadata = json.loads(json_response.metadata(servable))["metadata"]
    shape = metadata["signature_def"]["signature_def"]["s"]["inputs"]["x"]
    wanted = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    self.assertEqual(shape["tensor_shape"], wanted)


if __name__ == "__main__":
  absltest.main()
