"""What `tf.io.parse_example` wants of a feature, as the check of examples takes it."""

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from monolith.native_training.data.kafka import kafka_messages

Feature = tf.io.FixedLenFeature | tf.io.RaggedFeature | tf.io.VarLenFeature

ANY_LENGTH = -1

_TYPES = (tf.int64, tf.float32, tf.string)
_RESERVED = {
  kafka_messages.POSITION: "the place in the stream",
  kafka_messages.EVENT_TIME_MS: "the time of the message",
}


def check_attributes(features: Mapping[str, Feature]) -> dict[str, list[Any]]:
  """The attributes of MonolithCheckExamples.

  Args:
    features: as for `decode_example`.

  Raises:
    ValueError: says which feature is not as it must be.
  """
  if not isinstance(features, Mapping) or not features:
    raise ValueError(
      "features must be a dict of names to tf.io.RaggedFeature, tf.io.FixedLenFeature "
      f"or tf.io.VarLenFeature, got {features!r}"
    )
  by_key: dict[str, tuple] = {}
  for name, feature in features.items():
    key, wanted = _wanted(name, feature)
    if by_key.setdefault(key, wanted) != wanted:
      raise ValueError(
        f"feature {name!r} reads {key!r}, which another feature wants differently"
      )
  types, lengths, required = zip(*by_key.values(), strict=True)
  return {
    "names": list(by_key),
    "types": list(types),
    "lengths": list(lengths),
    "required": list(required),
  }


def _wanted(name: str, feature: Feature) -> tuple[str, tuple]:
  """Where in an example a feature is, and its type, length and whether it must be."""
  if not isinstance(name, str):
    raise ValueError(f"names of features must be strings, got {name!r}")
  if name in _RESERVED:
    raise ValueError(
      f"no feature can be called {name!r}: decode_example returns {_RESERVED[name]} by "
      "that name"
    )
  if not isinstance(feature, Feature):
    raise ValueError(
      f"feature {name!r} must be a tf.io.RaggedFeature, tf.io.FixedLenFeature or "
      f"tf.io.VarLenFeature, got {feature!r}"
    )
  dtype = tf.as_dtype(feature.dtype)
  if dtype not in _TYPES:
    raise ValueError(
      f"feature {name!r} must be of tf.int64, tf.float32 or tf.string, got "
      f"{dtype.name}; cast it afterwards"
    )
  if isinstance(feature, tf.io.VarLenFeature):
    return name, (dtype, ANY_LENGTH, False)
  if isinstance(feature, tf.io.RaggedFeature):
    if feature.partitions:
      raise ValueError(
        f"feature {name!r} must be a tf.io.RaggedFeature without partitions, got "
        f"{feature.partitions!r}"
      )
    return feature.value_key or name, (dtype, ANY_LENGTH, False)
  shape = tf.TensorShape(feature.shape)
  if not shape.is_fully_defined():
    raise ValueError(
      f"feature {name!r} must have a shape without unknown sizes, got {shape}; a "
      "tf.io.RaggedFeature may have any number of values"
    )
  length = math.prod(shape)
  # TensorFlow takes a default without values for none.
  return name, (dtype, length, feature.default_value is None or length == 0)
