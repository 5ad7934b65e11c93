"""Bodies of predict requests, right and wrong."""

import json
import tracemalloc

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from tensorflow.python.framework import dtypes  # For those that `tf` does not show.

from monolith.serving.errors import Code, ServingError
from monolith.serving.rest import json_request
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

  def test_base64_without_padding(self):
    for text in ("/w==", "/w", "/w=", " /\nw "):
      feeds = _feeds(_signature(x=tf.string), inputs={"b64": text})
      self.assertEqual(feeds["x"].item(), b"\xff")

  @parameterized.parameters(
    (b"[NaN, -Infinity]", [np.nan, -np.inf]),
    (b"[Inf, -Inf, Infinity]", [np.inf, -np.inf, np.inf]),
    (b"[-NaN, 1.5]", [np.nan, 1.5]),
  )
  def test_nan_and_infinity(self, text, wanted):
    request = JsonRequest.parse(b'{"Inf\\"Inf": "-Inf", "inputs": ' + text + b"}")
    feeds = request.feeds(_signature(x=tf.float32))
    np.testing.assert_array_equal(feeds["x"], np.array(wanted, np.float32))

  def test_names_of_numbers_in_strings_stay(self):
    body = b'{"inputs": {"x": ["Inf", "\\"Inf", "-NaN\\\\"], "y": Inf}}'
    feeds = JsonRequest.parse(body).feeds(_signature(x=tf.string, y=tf.float32))
    self.assertEqual(feeds["x"].tolist(), [b"Inf", b'"Inf', b"-NaN\\"])

  def test_lists_of_no_length(self):
    self.assertEqual(_feeds(_signature(x=tf.int64), inputs=[])["x"].shape, (0,))
    feeds = _feeds(_signature(x=tf.string), inputs=[[[]], [[]]])
    self.assertEqual(feeds["x"].shape, (2, 1, 0))

  def test_other_keys_are_ignored(self):
    signature = _signature(x=tf.int64)
    feeds = _feeds(signature, instances=[1], context="of the client")
    np.testing.assert_array_equal(feeds["x"], [1])
    feeds = _feeds(signature, inputs={"x": [1], "y": "unused"})
    self.assertEqual(feeds.keys(), {"x"})

  def test_the_largest_floats(self):
    for dtype, digits in ((tf.float32, 24), (tf.float64, 53), (tf.float16, 11)):
      values = [2**digits - 1, 1 - 2**digits, float(dtype.max), 0.1]
      feeds = _feeds(_signature(x=dtype), inputs=values)
      wanted = np.array(values, np.float64).astype(dtype.as_numpy_dtype)
      np.testing.assert_array_equal(feeds["x"], wanted)

  @parameterized.parameters(tf.int64, tf.float32, tf.bool)
  def test_strings_for_numbers_take_no_memory(self, dtype):
    body = json.dumps({"inputs": ["x" * 1_000_000] + ["a"] * 200}).encode()
    request = JsonRequest.parse(body)
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    with self.assertRaisesRegex(ServingError, "not of expected type"):
      request.feeds(_signature(x=dtype))
    self.assertLess(tracemalloc.get_traced_memory()[1], 1_000_000)

  def test_no_array_is_larger_than_it_is_told_before(self):
    for dtype, value in (
      (tf.int64, list(range(1000))),
      (tf.int64, []),
      (tf.float64, [[1.5, 2], [3, 4]]),
      (tf.string, ["", ","]),
    ):
      body = json.dumps({"inputs": value}).encode()
      (array,) = JsonRequest.parse(body).feeds(_signature(x=dtype)).values()
      self.assertLessEqual(array.nbytes, json_request.decoded_bytes(body))

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
    (b'{"instance": [1]}', r"either 'instances'.*it has \['instance'\]"),
    (b'{"instances": [Infinite]}', "JSON Parse Error"),
    (b'{"instances": [1e400]}', "JSON Parse Error"),
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
    (tf.int64, [1, True], "not of expected type: int64"),
    (tf.int64, [1, 1.0], "not of expected type: int64"),
    (tf.int64, [None], "not of expected type: int64"),
    (tf.int64, [{"b64": ""}], "not of expected type: int64"),
    (tf.int64, [2**63], "out of the range of int64"),
    (tf.int64, [2**64], "not of expected type"),
    (tf.int32, [2**31], "out of the range of int32"),
    (tf.uint8, [-1], "out of the range of uint8"),
    (tf.int64, [[1], [1, 2]], "'x'"),
    (tf.int64, [[1], 2], "'x'"),
    (tf.float32, [True], "not of expected type: float"),
    (tf.float32, [1.5, True], "not of expected type: float"),
    (tf.float32, [1e39], r"1e\+39 to float32 without loss of precision"),
    (tf.float32, [-1e39], "to float32 without loss of precision"),
    (tf.float32, [0.5, 2**24], "16777216 to float32 without loss of precision"),
    (tf.float32, [-(2**24)], "-16777216 to float32 without loss of precision"),
    (tf.float64, [2**53], "to float64 without loss of precision"),
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
    ({"instances": [{"x": 1, "y": 1, "z": 1}]}, r"Sent extra: \{z\}"),
    ({"inputs": {"x": 1, "z": 1}}, r"Sent extra: \{z\}. Missing but required: \{y\}"),
  )
  def test_inputs_that_are_not_the_signatures(self, document, pattern):
    with self.assertRaisesRegex(ServingError, pattern):
      _feeds(_signature(x=tf.int64, y=tf.int64), **document)

  def test_dtypes_that_json_lacks(self):
    for dtype in (tf.complex64, dtypes.int4, dtypes.uint4, tf.qint8):
      pattern = f"no values of {dtype.name}"
      with self.assertRaisesRegex(ServingError, pattern) as caught:
        _feeds(_signature(x=dtype), inputs=[1])
      self.assertEqual(caught.exception.code, Code.UNIMPLEMENTED)


if __name__ == "__main__":
  absltest.main()
