"""Bodies of predict requests, right and wrong."""

import json

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.serving.errors import Code, ServingError
from monolith.serving.rest.json_request import JsonRequest
from monolith.serving.servable.signature import Signature, TensorSpec


def _signature(**dtypes: tf.DType) -> Signature:
  inputs = {name: TensorSpec(name, dtype, None) for name, dtype in dtypes.items()}
  return Signature("s", inputs, {}, False)


def _feeds(signature: Signature, **document) -> dict[str, np.ndarray]:
  return JsonRequest.parse(json.dumps(document).encode()).feeds(signature)


class JsonRequestTest(parameterized.TestCase):
  def test_rows_and_columns_are_the_same(self):
    signature = _signature(user=tf.int64, price=tf.float32)
    rows = [{"user": [1], "price": 2}, {"user": [2**62], "price": 0.1}]
    by_rows = _feeds(signature, instances=rows)
    columns = {"user": [[1], [2**62]], "price": [2, 0.1]}
    by_columns = _feeds(signature, inputs=columns)
    for feeds in (by_rows, by_columns):
      np.testing.assert_array_equal(feeds["user"], [[1], [2**62]])
      np.testing.assert_array_equal(feeds["price"], np.array([2, 0.1], np.float32))
      self.assertEqual(feeds["user"].dtype, np.int64)
      self.assertEqual(feeds["price"].dtype, np.float32)

  def test_one_input_needs_no_name(self):
    signature = _signature(x=tf.int32)
    for key in ("instances", "inputs"):
      feeds = _feeds(signature, **{key: [[1, 2], [3, 4]]})
      np.testing.assert_array_equal(feeds["x"], [[1, 2], [3, 4]])

  def test_bytes_and_text(self):
    signature = _signature(x=tf.string)
    feeds = _feeds(signature, instances=["é", {"b64": "/wA="}])
    np.testing.assert_array_equal(
      feeds["x"], np.array(["é".encode(), b"\xff\x00"], object)
    )
    feeds = _feeds(signature, inputs=[[["a"]], [["b"]]])
    self.assertEqual(feeds["x"].shape, (2, 1, 1))

  def test_nan_and_infinity(self):
    feeds = JsonRequest.parse(b'{"instances": [NaN, -Infinity]}').feeds(
      _signature(x=tf.float32)
    )
    np.testing.assert_array_equal(feeds["x"], [np.nan, -np.inf])

  def test_the_signature_is_read(self):
    request = JsonRequest.parse(b'{"signature_name": "s", "inputs": 1}')
    self.assertEqual(request.signature_name, "s")

  @parameterized.parameters(
    (b"", "JSON Parse Error"),
    (b'{"instances": [1', "JSON Parse Error"),
    (b'{"instances": [NaN', "JSON Parse Error"),
    (b'{"instances": ' + b"[" * 100_000, "JSON Parse Error"),
    (b"NaN" + b"[" * 100_000, "JSON Parse Error"),
    (b"\xff\xfe", "JSON Parse Error"),
    (b"[1]", "not an object"),
    (b"{}", "either 'instances'"),
    (b'{"instances": [1], "inputs": 1}', "either 'instances'"),
    (b'{"instances": [1], "examples": 1}', "unknown key: examples"),
    (b'{"instances": []}', "at least one"),
    (b'{"instances": {"x": 1}}', "at least one"),
    (b'{"instances": [1], "signature_name": 3}', "not a string"),
  )
  def test_bodies_that_are_no_request(self, body, pattern):
    with self.assertRaisesRegex(ServingError, pattern) as caught:
      JsonRequest.parse(body)
    self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

  @parameterized.parameters(
    (tf.int64, [1.5], "not of expected type: int64"),
    (tf.int64, ["1"], "not of expected type: int64"),
    (tf.int64, [True], "not of expected type: int64"),
    (tf.int64, [None], "not of expected type: int64"),
    (tf.int64, [{"b64": ""}], "not of expected type: int64"),
    (tf.int64, [2**63], "out of the range of int64"),
    (tf.int64, [2**64], "not of expected type"),
    (tf.int32, [2**31], "out of the range of int32"),
    (tf.uint8, [-1], "out of the range of uint8"),
    (tf.int64, [[1], [1, 2]], "'x'"),
    (tf.int64, [[1], 2], "'x'"),
    (tf.float32, [True], "not of expected type: float"),
    (tf.bool, [1], "not of expected type: bool"),
    (tf.string, [1], "not of expected type: string"),
    (tf.string, [["a"], ["a", "b"]], "differ in length"),
    (tf.string, [["a"], "b"], "differ in length"),
    (tf.string, ["a", ["b"]], "not of expected type: string"),
    (tf.string, [{"b64": "?"}], "'x'"),
    (tf.string, [{"b64": 5}], "'x'"),
  )
  def test_values_that_do_not_fit(self, dtype, value, pattern):
    with self.assertRaisesRegex(ServingError, pattern) as caught:
      _feeds(_signature(x=dtype), inputs=value)
    self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

  @parameterized.parameters(
    ({"instances": [{"x": 1}]}, r"Missing but required: \{y\}"),
    ({"instances": [{"x": 1, "y": 1}, {"x": 1}]}, "element: 1 of"),
    ({"instances": [{"x": 1, "y": 1}, 5]}, "element: 1 of"),
    ({"instances": [1]}, "given by name: x, y"),
    ({"inputs": [1]}, "given by name: x, y"),
    ({"inputs": {"x": 1, "y": 1, "z": 1}}, r"Sent extra: \{z\}"),
  )
  def test_inputs_that_are_not_the_signatures(self, document, pattern):
    with self.assertRaisesRegex(ServingError, pattern):
      _feeds(_signature(x=tf.int64, y=tf.int64), **document)


if __name__ == "__main__":
  absltest.main()
