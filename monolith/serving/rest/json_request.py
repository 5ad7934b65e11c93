"""The bodies of REST predict requests, as arrays.

`{"signature_name": ..., "instances": [...]}` has a list of examples, each an object of
inputs, or the value itself where there is one input; `{"inputs": ...}` has whole
tensors. Bytes are written `{"b64": "..."}`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from monolith.serving.errors import ServingError, invalid_argument
from monolith.serving.servable.signature import Signature, TensorSpec

_KEYS = {"signature_name", "instances", "inputs"}
_MAX_DIMS = 32


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
    extra = document.keys() - _KEYS
    if extra:
      raise invalid_argument(f"JSON has an unknown key: {sorted(extra)[0]}")
    if ("instances" in document) == ("inputs" in document):
      raise invalid_argument(
        "JSON must have either 'instances', for a list of examples, or 'inputs', for "
        "tensors by name"
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
      ServingError: others than the signature's, or values that do not fit.
    """
    columns = self._columns(signature)
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


def _parse(body: bytes) -> Any:
  try:
    return orjson.loads(body)
  except orjson.JSONDecodeError as error:
    # TensorFlow Serving takes these three, which JSON does not have.
    if b"NaN" in body or b"Infinity" in body:
      try:
        return json.loads(body)
      except (ValueError, RecursionError):
        pass
    raise invalid_argument(f"JSON Parse Error: {error}") from None


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
    if spec.dtype == tf.string:
      return _strings(value)
    return _numbers(name, value, spec.dtype)
  except ServingError:
    raise
  # A list of lists that differ in length, for example.
  except (ValueError, TypeError, OverflowError, binascii.Error) as error:
    raise invalid_argument(f"input {name!r}: {error}") from None


def _numbers(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
  array = np.array(value)
  target = np.dtype(dtype.as_numpy_dtype)
  if array.size and array.dtype.kind not in _kinds_for(dtype):
    raise invalid_argument(
      f"JSON Value of input {name!r} is not of expected type: {dtype.name}"
    )
  if dtype.is_integer and array.size:
    limits = np.iinfo(target)
    if int(array.min()) < limits.min or int(array.max()) > limits.max:
      raise invalid_argument(
        f"input {name!r}: a value is out of the range of {dtype.name}"
      )
  with np.errstate(over="ignore"):
    return array.astype(target)


def _kinds_for(dtype: tf.DType) -> str:
  """NumPy's kinds of what may be sent."""
  if dtype == tf.bool:
    return "b"
  return "iu" if dtype.is_integer else "iuf"


def _strings(value: Any) -> np.ndarray:
  shape = []
  level = value
  while isinstance(level, list):
    shape.append(len(level))
    if not level or len(shape) > _MAX_DIMS:
      break
    level = level[0]
  leaves: list[bytes] = []
  _collect(value, shape, leaves)
  array = np.empty(len(leaves), object)
  array[:] = leaves
  return array.reshape(shape)


def _collect(value: Any, shape: list[int], leaves: list[bytes]) -> None:
  if not shape:
    leaves.append(_bytes(value))
    return
  if not isinstance(value, list) or len(value) != shape[0]:
    raise ValueError("the lists differ in length")
  for item in value:
    _collect(item, shape[1:], leaves)


def _bytes(value: Any) -> bytes:
  if isinstance(value, str):
    return value.encode()
  if isinstance(value, dict) and value.keys() == {"b64"}:
    return base64.b64decode(value["b64"], validate=True)
  raise TypeError("a value is not of expected type: string")
