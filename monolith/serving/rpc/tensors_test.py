"""Tensors of messages: every form of them, and those that are wrong."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2

from monolith.serving.errors import Code, ServingError
from monolith.serving.rpc import tensors
from monolith.serving.servable.signature import TensorSpec

_ARRAYS = (
  np.array([[1.5, -2.0]], np.float32),
  np.array([1e300, np.nan]),
  np.array([[2**62], [-5]]),
  np.array([7, -7], np.int32),
  np.array([1, 255], np.uint8),
  np.array([True, False]),
  np.array([1.5], np.float16),
  np.array([[1.5, -0.25]], np.float16),
  np.array([1.5, -3.0]).astype(tf.bfloat16.as_numpy_dtype),
  np.array([-128, 127], np.int8),
  np.array([-(2**15), 3], np.int16),
  np.array([0, 2**16 - 1], np.uint16),
  np.array([0, 2**32 - 1], np.uint32),
  np.array([[0], [2**64 - 1]], np.uint64),
  np.array([1 - 2j, 3j], np.complex64),
  np.array([[1e300 - 2j], [3j]]).T[::-1],
  np.array(b"a\0", object),
  np.array([[b"a", b"\xff\x00"]], object),
  np.zeros((0, 3), np.float32),
  np.array(3, np.int64),
)
_MAX_BYTES = 1000


def _decode(proto: tensor_pb2.TensorProto, dtype: tf.DType) -> np.ndarray:
  spec = TensorSpec("x:0", dtype, None)
  size = tensors.decoded_bytes("x", proto, spec, _MAX_BYTES)
  array = tensors.decode("x", proto, spec)
  if dtype != tf.string:
    assert size == array.nbytes
  return array


class TensorsTest(parameterized.TestCase):
  @parameterized.parameters(*((array,) for array in _ARRAYS))
  def test_there_and_back(self, array):
    dtype = tf.as_dtype(array.dtype)
    proto = tensor_pb2.TensorProto()
    tensors.encode(array, dtype, proto)
    np.testing.assert_array_equal(tf.make_ndarray(proto), array)
    for sent in (proto, tf.make_tensor_proto(array, dtype)):
      got = _decode(sent, dtype)
      self.assertEqual(got.shape, array.shape)
      np.testing.assert_array_equal(got, array)

  @parameterized.parameters(
    (tf.float16, "half_val", [0x3C00, 0x4000]),
    (tf.bfloat16, "half_val", [0x3F80, 0x4000]),
    (tf.float32, "float_val", [1, 2]),
    (tf.float64, "double_val", [1, 2]),
    (tf.int8, "int_val", [1, 2]),
    (tf.int16, "int_val", [1, 2]),
    (tf.int32, "int_val", [1, 2]),
    (tf.int64, "int64_val", [1, 2]),
    (tf.uint8, "int_val", [1, 2]),
    (tf.uint16, "int_val", [1, 2]),
    (tf.uint32, "uint32_val", [1, 2]),
    (tf.uint64, "uint64_val", [1, 2]),
    (tf.complex64, "scomplex_val", [1, 0, 2, 0]),
    (tf.complex128, "dcomplex_val", [1, 0, 2, 0]),
  )
  def test_values_are_where_clients_look(self, dtype, field, wanted):
    proto = tensor_pb2.TensorProto()
    tensors.encode(np.array([[1], [2]]).astype(dtype.as_numpy_dtype), dtype, proto)
    self.assertEqual(list(getattr(proto, field)), wanted)
    self.assertEmpty(proto.tensor_content)

  def _refused(self, proto: tensor_pb2.TensorProto, pattern: str) -> None:
    with self.assertRaisesRegex(ServingError, pattern) as caught:
      _decode(proto, tf.int64)
    self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

  def test_another_dtype_is_named(self):
    self._refused(
      tf.make_tensor_proto([1.0]), "'x': expects int64 but float32 is provided"
    )
    self._refused(tensor_pb2.TensorProto(), "expects int64 but")
    self._refused(tensor_pb2.TensorProto(dtype=9999), "expects int64 but no dtype")

  def test_shapes_that_do_not_fit_their_values(self):
    for shape in ([3], [2, 2], [-1], [2**62, 2**62], [0, 2**62]):
      for source in (np.arange(5), np.array(5)):
        proto = tf.make_tensor_proto(source, tf.int64)
        proto.tensor_shape.Clear()
        for size in shape:
          proto.tensor_shape.dim.add().size = size
        if source.ndim == 0 and shape in ([3], [2, 2]):
          self.assertEqual(_decode(proto, tf.int64).shape, tuple(shape))  # Repeated.
        else:
          self._refused(proto, "tensor parsing error: x")

  def test_more_values_than_the_shape_has_room_for(self):
    for value in (np.arange(5), np.arange(5) * 1j, np.full(5, b"a", object)):
      proto = tensor_pb2.TensorProto()
      dtype = tf.as_dtype(value.dtype)
      tensors.encode(value, dtype, proto)
      proto.tensor_shape.dim[0].size = 3
      pattern = r"x: 5 values, shape \[3\] has room for 3"
      with self.assertRaisesRegex(ServingError, pattern):
        _decode(proto, dtype)

  def test_a_small_message_cannot_ask_for_much_memory(self):
    proto = tf.make_tensor_proto([[7]], tf.int64)
    proto.tensor_shape.dim[0].size = _MAX_BYTES // 8 + 1
    self._refused(proto, "more than 1000 bytes")

  def test_strings_count_as_often_as_they_are_repeated(self):
    spec = TensorSpec("x:0", tf.string, None)
    for count, sent, wanted in (
      (3, [b"a" * 100, b"b" * 300], 700),
      (4, [b"a" * 100, b"b" * 300], 1000),
      (5, [b"a" * 100, b"b" * 300], None),
      (2, [b"b" * 300] * 4, None),
      (100, [b"a"], 800),
      (0, [], 0),
    ):
      proto = tensor_pb2.TensorProto(dtype=spec.dtype.as_datatype_enum, string_val=sent)
      proto.tensor_shape.dim.add().size = count
      with self.subTest(count=count, sent=len(sent)):
        if wanted is not None:
          size = tensors.decoded_bytes("x", proto, spec, _MAX_BYTES)
          self.assertEqual(size, wanted)
          continue
        with self.assertRaisesRegex(ServingError, "strings are more than 1000 bytes"):
          tensors.decoded_bytes("x", proto, spec, _MAX_BYTES)

  def test_a_message_cannot_ask_for_a_long_product(self):
    for count, size in ((33, 1), (1_000_000, 2**62)):
      proto = tensor_pb2.TensorProto(dtype=tf.int64.as_datatype_enum, int64_val=[7])
      dim = tensor_shape_pb2.TensorShapeProto.Dim(size=size)
      proto.tensor_shape.dim.extend([dim] * count)
      self._refused(proto, f"x: {count} dimensions, wanted 32 at most")
    del proto.tensor_shape.dim[32:]
    self._refused(proto, "more than 1000 bytes")

  def test_content_that_ends_within_a_value(self):
    proto = tf.make_tensor_proto(np.arange(5))
    proto.tensor_content = proto.tensor_content[:-1]
    self._refused(proto, "tensor parsing error: x")


if __name__ == "__main__":
  absltest.main()
