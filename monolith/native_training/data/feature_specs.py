"""Features as `tf.io.parse_example` has them, for the op MonolithParseExamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from monolith.native_training.data.kafka import kafka_messages

Feature = tf.io.FixedLenFeature | tf.io.RaggedFeature | tf.io.VarLenFeature

_TYPES = (tf.int64, tf.float32, tf.string)
_RESERVED = {
  kafka_messages.POSITION: "the place in the stream",
  kafka_messages.EVENT_TIME_MS: "the time of the message",
}


class FeatureLayout:
  """What the op is asked for, and which features its outputs are.

  Args:
    features: as for `decode_example`.

  Attributes:
    attributes: of the op, by name.
    defaults: its input of that name.

  Raises:
    ValueError: says which feature is not as it must be.
  """

  def __init__(self, features: Mapping[str, Feature]):
    if not isinstance(features, Mapping) or not features:
      raise ValueError(
        "features must be a dict of names to tf.io.RaggedFeature, "
        f"tf.io.FixedLenFeature or tf.io.VarLenFeature, got {features!r}"
      )
    self._features = dict(features)
    dense: dict[str, tf.io.FixedLenFeature] = {}
    ragged: dict[str, tf.io.RaggedFeature | tf.io.VarLenFeature] = {}
    wanted_of: dict[str, tuple] = {}
    for name, feature in features.items():
      _check(name, feature)
      key = _key(name, feature)
      is_dense = isinstance(feature, tf.io.FixedLenFeature)
      wanted = (is_dense, tf.as_dtype(feature.dtype))
      if wanted_of.setdefault(key, wanted) != wanted:
        raise ValueError(
          f"feature {name!r} reads {key!r}, which another feature wants differently"
        )
      (dense if is_dense else ragged).setdefault(key, feature)
    self._ragged_at = {key: i for i, key in enumerate(ragged)}
    self._dense_at = {key: i for i, key in enumerate(dense)}
    self.attributes = {
      "ragged_names": list(ragged),
      "ragged_types": [feature.dtype for feature in ragged.values()],
      "splits_types": [_splits_type(feature) for feature in ragged.values()],
      "dense_names": list(dense),
      "dense_shapes": [tf.TensorShape(feature.shape) for feature in dense.values()],
    }
    self.defaults = [_default(*item) for item in dense.items()]

  def tensors(
    self,
    ragged_values: Sequence[tf.Tensor],
    ragged_splits: Sequence[tf.Tensor],
    dense_values: Sequence[tf.Tensor],
  ) -> dict[str, tf.Tensor | tf.RaggedTensor | tf.SparseTensor]:
    """The features by their names, as `tf.io.parse_example` returns them."""
    tensors = {}
    for name, feature in self._features.items():
      if isinstance(feature, tf.io.FixedLenFeature):
        tensors[name] = dense_values[self._dense_at[name]]
        continue
      at = self._ragged_at[_key(name, feature)]
      ragged = tf.RaggedTensor.from_row_splits(
        ragged_values[at], ragged_splits[at], validate=False
      ).with_row_splits_dtype(_splits_type(feature))
      is_sparse = isinstance(feature, tf.io.VarLenFeature)
      tensors[name] = ragged.to_sparse() if is_sparse else ragged
    return tensors


def _key(name: str, feature: Feature) -> str:
  """Where in an example a feature is."""
  return getattr(feature, "value_key", None) or name


def _splits_type(feature: tf.io.RaggedFeature | tf.io.VarLenFeature) -> tf.DType:
  return tf.as_dtype(getattr(feature, "row_splits_dtype", tf.int64))


def _default(name: str, feature: tf.io.FixedLenFeature) -> tf.Tensor:
  """What an example without the feature has, none where it must not lack it."""
  value, dtype = feature.default_value, tf.as_dtype(feature.dtype)
  shape = tf.TensorShape(feature.shape)
  if value is None:
    return tf.constant([], dtype)
  try:
    return tf.reshape(tf.convert_to_tensor(value, dtype), shape.as_list())
  except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
    raise ValueError(
      f"feature {name!r} must have a default_value of {dtype.name} and of shape "
      f"{shape}, got {value!r}"
    ) from error


def _check(name: str, feature: Feature) -> None:
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
  if isinstance(feature, tf.io.RaggedFeature) and feature.partitions:
    raise ValueError(
      f"feature {name!r} must be a tf.io.RaggedFeature without partitions, got "
      f"{feature.partitions!r}"
    )
  if isinstance(feature, tf.io.FixedLenFeature):
    shape = tf.TensorShape(feature.shape)
    if not shape.is_fully_defined():
      raise ValueError(
        f"feature {name!r} must have a shape without unknown sizes, got {shape}; a "
        "tf.io.RaggedFeature may have any number of values"
      )
