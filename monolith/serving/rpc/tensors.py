"""`TensorProto`s of requests as arrays, and arrays as those of responses."""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

from monolith.serving.errors import invalid_argument
from monolith.serving.servable.signature import TensorSpec

# Where values are in a message. Those of 16 bits are there as integers of their bits,
# complex ones as two floats each.
_FIELDS = {
  tf.float16: "half_val",
  tf.bfloat16: "half_val",
  tf.float32: "float_val",
  tf.float64: "double_val",
  tf.int8: "int_val",
  tf.int16: "int_val",
  tf.int32: "int_val",
  tf.int64: "int64_val",
  tf.uint8: "int_val",
  tf.uint16: "int_val",
  tf.uint32: "uint32_val",
  tf.uint64: "uint64_val",
  tf.bool: "bool_val",
  tf.string: "string_val",
  tf.complex64: "scomplex_val",
  tf.complex128: "dcomplex_val",
}
# What values that are no numbers of their field are seen as.
_PARTS = {
  tf.float16: np.uint16,
  tf.bfloat16: np.uint16,
  tf.complex64: np.float32,
  tf.complex128: np.float64,
}
_MAX_DIMS = 32  # As in JSON. NumPy may have no more.


def decoded_bytes(
  name: str, proto: tensor_pb2.TensorProto, spec: TensorSpec, max_bytes: int
) -> int:
  """The size of the array that a request holds; the message may be far smaller.

  Of strings it is that of their bytes, also of those that are there once for several
  elements, but no less than that of the references to them.

  Args:
    name: of the input, for errors.
    proto: what was sent.
    spec: whose dtype it must have.
    max_bytes: what is larger is refused.

  Raises:
    ServingError: another dtype, or a shape that cannot be.
  """
  if proto.dtype != spec.dtype.as_datatype_enum:
    raise invalid_argument(
      f"input {name!r}: expects {spec.dtype.name} but {_dtype_name(proto.dtype)} is "
      "provided"
    )
  dims = len(proto.tensor_shape.dim)
  if dims > _MAX_DIMS:
    raise invalid_argument(
      f"tensor parsing error: {name}: {dims} dimensions, wanted {_MAX_DIMS} at most"
    )
  shape = [dim.size for dim in proto.tensor_shape.dim]
  if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
    raise invalid_argument(f"tensor parsing error: {name}: the shape is not known")
  itemsize = np.dtype(spec.dtype.as_numpy_dtype).itemsize
  # With one that is too large the product may be zero.
  elements = math.prod(shape)
  if max(shape, default=0) > max_bytes or elements * itemsize > max_bytes:
    raise invalid_argument(
      f"tensor parsing error: {name}: shape {shape} is more than {max_bytes} bytes"
    )
  if spec.dtype != tf.string:
    return elements * itemsize
  strings = proto.string_val
  total = sum(map(len, strings))
  if 0 < len(strings) < elements:
    total += (elements - len(strings)) * len(strings[-1])
  if total > max_bytes:
    raise invalid_argument(
      f"tensor parsing error: {name}: {elements} strings are more than {max_bytes} "
      "bytes; the last of a message stands for those that are missing"
    )
  return max(total, elements * itemsize)


def decode(name: str, proto: tensor_pb2.TensorProto, spec: TensorSpec) -> np.ndarray:
  """The array that a request holds, of which `decoded_bytes` has told the size.

  Args:
    name: of the input, for errors.
    proto: what was sent.
    spec: whose dtype it has.

  Raises:
    ServingError: the shape does not fit the values.
  """
  shape = [dim.size for dim in proto.tensor_shape.dim]
  dtype = np.dtype(spec.dtype.as_numpy_dtype)
  content = proto.tensor_content
  _check_count(name, proto, spec.dtype, shape)
  try:
    if not content:
      return tf.make_ndarray(proto).reshape(shape)
    if spec.dtype == tf.bool:
      return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape)
  except (ValueError, TypeError, OverflowError) as error:
    raise invalid_argument(f"tensor parsing error: {name}: {error}") from None


def encode(array: np.ndarray, dtype: tf.DType, proto: tensor_pb2.TensorProto) -> None:
  """Writes an array into `proto`, whose values clients find in the field of its dtype.

  TensorFlow Serving writes fields too: clients that read `float_val` rely on it.
  """
  field = _FIELDS.get(dtype)
  if field is None:  # Such as quantized numbers.
    proto.CopyFrom(tf.make_tensor_proto(array, dtype))
    return
  proto.dtype = dtype.as_datatype_enum
  for size in array.shape:
    proto.tensor_shape.dim.add().size = size
  values = array.reshape(-1)
  if dtype in _PARTS:
    values = np.ascontiguousarray(values).view(_PARTS[dtype])
  getattr(proto, field).extend(values.tolist())


def _check_count(
  name: str, proto: tensor_pb2.TensorProto, dtype: tf.DType, shape: list[int]
) -> None:
  """Raises `ServingError` where a field has more values than the shape has room for.
  With fewer, the last stands for those that are missing."""
  if dtype not in _FIELDS:
    return
  count = len(getattr(proto, _FIELDS[dtype]))
  if dtype.is_complex:
    count = -(-count // 2)
  if count > math.prod(shape):
    raise invalid_argument(
      f"tensor parsing error: {name}: {count} values, shape {shape} has room for "
      f"{math.prod(shape)}"
    )


def _dtype_name(enum: int) -> str:
  try:
    return tf.dtypes.as_dtype(enum).name
  except (TypeError, KeyError):
    return f"no dtype ({enum})"
