"""Values as a serialized `tf.train.Example`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_INT64 = np.iinfo(np.int64)
_FLOAT_MAX = float(np.finfo(np.float32).max)


def serialize_one(features: Mapping[str, Any]) -> bytes:
  """One serialized `tf.train.Example`.

  Equal features give equal bytes.

  Args:
    features: per name an int, a float, a str (written as UTF-8) or bytes, a list or
      tuple of them, or a NumPy array or eager tensor, whose rows are written one after
      the other. Ints and floats together are floats. An empty list has no type: any
      `tf.io.RaggedFeature` reads it.

  Returns:
    The bytes.

  Raises:
    ValueError: names the feature whose value has another type, is True or False, or
      does not fit in 64 bits (ints) or 32 bits (floats).
  """
  if not isinstance(features, Mapping):
    raise ValueError(f"features must be a dict of names to values, got {features!r}")
  example = tf.train.Example()
  for name, value in features.items():
    if not isinstance(name, str):
      raise ValueError(f"names of features must be strings, got {name!r}")
    _fill(example.features.feature[name], name, value)
  return example.SerializeToString(deterministic=True)


def _fill(feature: tf.train.Feature, name: str, value: Any) -> None:
  if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
    raise ValueError(
      f"feature {name!r} must be the values of one example, got {type(value).__name__}"
    )
  if tf.is_tensor(value):
    if not hasattr(value, "numpy"):
      raise ValueError(f"feature {name!r} must have a value, got {value!r} of a graph")
    value = value.numpy()
  if isinstance(value, np.ndarray) and value.dtype.kind != "O":
    _fill_from_array(feature, name, value)
  elif isinstance(value, np.ndarray):
    _fill_from_list(feature, name, value.ravel().tolist())
  elif isinstance(value, list | tuple):
    _fill_from_list(feature, name, value)
  else:
    _fill_from_list(feature, name, [value])


def _fill_from_array(feature: tf.train.Feature, name: str, array: np.ndarray) -> None:
  kind = array.dtype.kind
  flat = array.ravel()
  if kind in "iu":
    if kind == "u" and (flat > _INT64.max).any():
      raise ValueError(_too_large(name, int(flat.max()), "64 bits with a sign"))
    feature.int64_list.value.extend(flat.tolist())
  elif kind == "f":
    if (np.isfinite(flat) & (np.abs(flat) > _FLOAT_MAX)).any():
      largest = float(np.abs(flat[np.isfinite(flat)]).max())
      raise ValueError(_too_large(name, largest, "a 32 bit float"))
    feature.float_list.value.extend(flat.tolist())
  elif kind in "SU":
    feature.bytes_list.value.extend(map(_bytes, flat.tolist()))
  else:
    raise ValueError(
      f"feature {name!r} must be of ints, floats or strings, got an array of "
      f"{array.dtype}"
    )


def _fill_from_list(feature: tf.train.Feature, name: str, values: list | tuple) -> None:
  if not values:
    return
  kinds = {_kind(name, value) for value in values}
  if kinds == {int}:
    for value in values:
      if not _INT64.min <= value <= _INT64.max:
        raise ValueError(_too_large(name, value, "64 bits with a sign"))
    feature.int64_list.value.extend(map(int, values))
  elif kinds <= {int, float}:
    floats = np.asarray([_float(name, value) for value in values], np.float64)
    _fill_from_array(feature, name, floats)
  elif kinds == {bytes}:
    feature.bytes_list.value.extend(map(_bytes, values))
  else:
    raise ValueError(f"feature {name!r} must not mix strings and numbers: {values!r}")


def _kind(name: str, value: Any) -> type:
  if isinstance(value, bool | np.bool_):
    raise ValueError(
      f"feature {name!r} must be a number, got {value!r}; write int(...)"
    )
  if isinstance(value, int | np.integer):
    return int
  if isinstance(value, float | np.floating):
    return float
  if isinstance(value, str | bytes):
    return bytes
  raise ValueError(
    f"feature {name!r} must be an int, a float, a str, bytes, or a list of them, got "
    f"{value!r} of type {type(value).__name__}"
  )


def _float(name: str, value: Any) -> float:
  try:
    return float(value)
  except OverflowError:
    raise ValueError(_too_large(name, value, "a 32 bit float")) from None


def _bytes(value: str | bytes) -> bytes:
  return value.encode() if isinstance(value, str) else value


def _too_large(name: str, value: Any, room: str) -> str:
  return f"feature {name!r} does not fit in {room}: {value!r}"
