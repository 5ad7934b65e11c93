"""The bodies of REST predict requests, as arrays.

`{"signature_name": ..., "instances": [...]}` has a list of examples, each an object of
inputs, or the value itself where there is one input; `{"inputs": ...}` has whole
tensors. Bytes are written `{"b64": "..."}`.

What is taken is what TensorFlow Serving takes: other keys beside these are ignored, and
so are inputs that a signature lacks, but not within `instances`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.servable.signature import Signature, TensorSpec

_MAX_DIMS = 32
# Bits of a float's fraction, with the leading one: integers of more are refused.
_DIGITS = {tf.bfloat16: 8, tf.float16: 11, tf.float32: 24, tf.float64: 53}
# What decides whether a name of a number is one, or in a string.
_NUMBER_NAME = re.compile(rb'\\.|"|-?(?:Inf(?:inity)?|NaN)', re.DOTALL)
_MAX_NAMES_SHOWN = 5
_VALUE_BYTES = 8  # Of a number in an array, or of a reference, at most.


@dataclasses.dataclass(frozen=True)
class JsonRequest:
  """A body that was parsed. `by_rows` tells `instances` from `inputs`."""

  signature_name: str
  by_rows: bool
  content: Any

  @classmethod
  def parse(cls, body: bytes) -> JsonRequest:
    """Raises `ServingError` if it is no predict request."""
    document = _parse(body)
    if not isinstance(document, dict):
      raise invalid_argument("JSON Parse Error: the body is not an object")
    if ("instances" in document) == ("inputs" in document):
      raise invalid_argument(
        "JSON must have either 'instances', for a list of examples, or 'inputs', for "
        f"tensors by name; it has {sorted(document)[:_MAX_NAMES_SHOWN]}"
      )
    name = document.get("signature_name", "")
    if not isinstance(name, str):
      raise invalid_argument("'signature_name' is not a string")
    by_rows = "instances" in document
    content = document["instances" if by_rows else "inputs"]
    if by_rows and not (isinstance(content, list) and content):
      raise invalid_argument("'instances' is not a list of at least one example")
    return cls(name, by_rows, content)

  def feeds(self, signature: Signature) -> dict[str, np.ndarray]:
    """The inputs, of the dtypes of a signature.

    Raises:
      ServingError: one is missing, or values do not fit.
    """
    columns = self._columns(signature)
    if not signature.inputs.keys() <= columns.keys():
      signature.check_names(columns.keys())
    return {
      name: _array(name, columns[name], spec) for name, spec in signature.inputs.items()
    }

  def _columns(self, signature: Signature) -> Mapping[str, Any]:
    if not self.by_rows:
      if _is_object(self.content):
        return self.content
      return {_only_input(signature): self.content}
    rows = self.content
    if not _is_object(rows[0]):
      return {_only_input(signature): rows}
    names = rows[0].keys()
    signature.check_names(names)
    for index, row in enumerate(rows):
      if not _is_object(row) or row.keys() != names:
        raise invalid_argument(
          f"Failed to process element: {index} of 'instances' list: its inputs are not "
          f"{sorted(names)}"
        )
    return {name: [row[name] for row in rows] for name in names}


def decoded_bytes(body: bytes) -> int:
  """The most that the arrays of a body take; it is not parsed, which takes memory."""
  return (body.count(b",") + 1) * _VALUE_BYTES


def _parse(body: bytes) -> Any:
  try:
    return orjson.loads(body)
  except orjson.JSONDecodeError as error:
    # TensorFlow Serving takes these, which JSON does not have.
    if b"NaN" in body or b"Inf" in body:
      try:
        return json.loads(_with_pythons_names(body))
      except (ValueError, RecursionError):
        pass
    raise invalid_argument(f"JSON Parse Error: {error}") from None


def _with_pythons_names(body: bytes) -> bytes:
  """The body with `Infinity` for `Inf`, and without a sign before `NaN`."""
  in_string = False

  def name(match: re.Match) -> bytes:
    nonlocal in_string
    found = match[0]
    if found == b'"':
      in_string = not in_string
    if in_string or found[-1:] not in b"fyN":
      return found
    if found.endswith(b"NaN"):
      return b"NaN"
    return b"-Infinity" if found.startswith(b"-") else b"Infinity"

  return _NUMBER_NAME.sub(name, body)


def _is_object(value: Any) -> bool:
  """Whether it is an object, and not bytes."""
  return isinstance(value, dict) and value.keys() != {"b64"}


def _only_input(signature: Signature) -> str:
  if len(signature.inputs) != 1:
    raise invalid_argument(
      f"the inputs must be given by name: {', '.join(sorted(signature.inputs))}"
    )
  return next(iter(signature.inputs))


def _array(name: str, value: Any, spec: TensorSpec) -> np.ndarray:
  try:
    shape, leaves = _leaves(value)
    return _values(name, leaves, spec.dtype).reshape(shape)
  except (ValueError, TypeError, OverflowError, binascii.Error) as error:
    raise invalid_argument(f"input {name!r}: {error}") from None


def _leaves(value: Any) -> tuple[list[int], list]:
  """The shape of nested lists, and what is in the innermost, in one list."""
  shape: list[int] = []
  leaves = [value]
  while leaves and isinstance(leaves[0], list):
    if len(shape) == _MAX_DIMS:
      raise ValueError(f"lists in more than {_MAX_DIMS} others")
    if set(map(type, leaves)) != {list} or len(set(map(len, leaves))) > 1:
      raise ValueError("the lists differ in length")
    shape.append(len(leaves[0]))
    leaves = list(itertools.chain.from_iterable(leaves))
  return shape, leaves


def _values(name: str, leaves: list, dtype: tf.DType) -> np.ndarray:
  """Values of one dimension. Their types are looked at before NumPy, which makes as
  much room for every string of a list as the longest takes."""
  types = set(map(type, leaves))
  if dtype == tf.string:
    array = np.empty(len(leaves), object)
    array[:] = [_bytes(value) for value in leaves]
    return array
  if dtype == tf.bool:
    allowed = {bool}
  elif dtype.is_integer and np.dtype(dtype.as_numpy_dtype).kind in "iu":
    allowed = {int}  # NumPy has no integers of less than a byte, such as int4.
  elif dtype in _DIGITS:
    allowed = {int, float}
  else:
    raise ServingError(
      Code.UNIMPLEMENTED, f"input {name!r}: JSON has no values of {dtype.name}"
    )
  if not types <= allowed:
    raise invalid_argument(
      f"JSON Value of input {name!r} is not of expected type: {dtype.name}"
    )
  if dtype in _DIGITS:
    return _floats(name, leaves, dtype, int in types)
  target = np.dtype(dtype.as_numpy_dtype)
  if dtype.is_integer and leaves:
    limits = np.iinfo(target)
    if min(leaves) < limits.min or max(leaves) > limits.max:
      raise invalid_argument(
        f"input {name!r}: a value is out of the range of {dtype.name}"
      )
  return np.array(leaves, target)


def _floats(name: str, leaves: list, dtype: tf.DType, has_integers: bool) -> np.ndarray:
  """Floats as TensorFlow Serving takes them: fractions are rounded; integers with more
  digits, and what is not finite but there, are refused."""
  largest = (1 << _DIGITS[dtype]) - 1
  lossy: Any = None
  if has_integers:
    integers = (value for value in leaves if type(value) is int)
    lossy = next((value for value in integers if abs(value) > largest), None)
  if lossy is None:
    array = np.array(leaves, np.float64)
    beyond = np.isfinite(array) & (np.abs(array) > float(dtype.max))
    lossy = array[beyond][0] if beyond.any() else None
  if lossy is not None:
    raise invalid_argument(
      f"input {name!r}: Cannot convert JSON value: {lossy} to {dtype.name} without "
      "loss of precision."
    )
  with np.errstate(over="ignore"):
    return array.astype(dtype.as_numpy_dtype)


def _bytes(value: Any) -> bytes:
  if isinstance(value, str):
    return value.encode()
  if isinstance(value, dict) and value.keys() == {"b64"}:
    return _decode_base64(value["b64"])
  raise TypeError("a value is not of expected type: string")


def _decode_base64(text: Any) -> bytes:
  """With or without padding and white space."""
  if not isinstance(text, str):
    raise TypeError("a value of 'b64' is not a string")
  bare = "".join(text.split()).rstrip("=")
  return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
