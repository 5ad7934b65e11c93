"""Predictions and metadata as the JSON that TensorFlow Serving's REST API answers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import orjson
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from monolith.serving.errors import Code, ServingError
from monolith.serving.predictor import Prediction
from monolith.serving.servable.servable import Servable

_BYTES_SUFFIX = "_bytes"  # Outputs of such names are bytes, others text.
_FORMAT = {
  "preserving_proto_field_name": True,
  "always_print_fields_with_no_presence": True,
}


def prediction(result: Prediction, by_rows: bool) -> bytes:
  """A list `predictions` of examples, or `outputs`, which has whole tensors.

  Raises:
    ServingError: the outputs have no examples, are bytes and no text, or of a dtype
      that JSON has no values of.
  """
  values = {
    name: _plain(name, result.outputs[name], spec.dtype)
    for name, spec in result.signature.outputs.items()
  }
  if by_rows:
    _check_rows(result.outputs[name] for name in values)
    return _dump({"predictions": _rows(values)})
  outputs = next(iter(values.values())) if len(values) == 1 else values
  return _dump({"outputs": outputs})


def error(failure: ServingError) -> bytes:
  return orjson.dumps({"error": failure.message})


def status(response: get_model_status_pb2.GetModelStatusResponse) -> bytes:
  return orjson.dumps(
    {
      "model_version_status": [
        {
          "version": str(item.version),
          "state": type(item).State.Name(item.state),
          "status": {
            "error_code": _code_name(item.status.error_code),
            "error_message": item.status.error_message,
          },
        }
        for item in response.model_version_status
      ]
    }
  )


def metadata(servable: Servable) -> bytes:
  signatures = get_model_metadata_pb2.SignatureDefMap()
  for name, definition in servable.definitions.items():
    signatures.signature_def[name].CopyFrom(definition)
  return orjson.dumps(
    {
      "model_spec": {
        "name": servable.name,
        "signature_name": "",
        "version": str(servable.version),
      },
      "metadata": {"signature_def": json_format.MessageToDict(signatures, **_FORMAT)},
    }
  )


def _code_name(number: int) -> str:
  return next(code.name for code in Code if code.value[0] == number)


def _check_rows(arrays: Iterable[np.ndarray]) -> None:
  sizes = {len(array) if np.ndim(array) else None for array in arrays}
  if None in sizes or len(sizes) > 1:
    raise ServingError(
      Code.INVALID_ARGUMENT,
      "the outputs are not one value an example: ask with 'inputs', not 'instances'",
    )


def _rows(values: Mapping[str, Any]) -> Any:
  if len(values) == 1:
    return next(iter(values.values()))
  names = list(values)
  return [
    dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)
  ]


def _plain(name: str, value: np.ndarray, dtype: tf.DType) -> np.ndarray | list:
  """What orjson writes: arrays of numbers, lists of strings."""
  if dtype == tf.string:
    return _texts(name, np.asarray(value).tolist())
  if not (dtype.is_bool or dtype.is_integer or dtype.is_floating):
    raise ServingError(
      Code.UNIMPLEMENTED, f"output {name!r}: JSON has no values of {dtype.name}"
    )
  if dtype.is_floating and dtype not in (tf.float32, tf.float64):
    return value.astype(np.float32)
  return np.ascontiguousarray(value).reshape(np.shape(value))


def _texts(name: str, value: Any) -> Any:
  if isinstance(value, list):
    return [_texts(name, item) for item in value]
  if name.endswith(_BYTES_SUFFIX):
    return {"b64": base64.b64encode(value).decode()}
  try:
    return value.decode()
  except UnicodeDecodeError:
    raise ServingError(
      Code.FAILED_PRECONDITION,
      f"output {name!r} is not UTF-8: name it {name + _BYTES_SUFFIX!r} to have it as "
      "base64",
    ) from None


def _dump(document: Any) -> bytes:
  if _is_finite(document):
    return orjson.dumps(document, _as_list, orjson.OPT_SERIALIZE_NUMPY)
  # As TensorFlow Serving does, with NaN and Infinity, which JSON does not have.
  return json.dumps(document, default=_as_list).encode()


def _as_list(array: np.ndarray) -> Any:
  """For what has no dimension, too, which orjson does not write."""
  return array.tolist()


def _is_finite(value: Any) -> bool:
  if isinstance(value, np.ndarray | np.generic):
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())
  if isinstance(value, dict):
    return all(map(_is_finite, value.values()))
  if isinstance(value, list):
    return all(map(_is_finite, value))
  return True
