"""A signature of a SavedModel: what it takes and gives, and which requests fit it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import tensorflow as tf

from monolith.serving.errors import invalid_argument


@dataclasses.dataclass(frozen=True)
class TensorSpec:
  """An input or output. `shape` has None for what may vary, or is None if all may."""

  tensor: str
  dtype: tf.DType
  shape: tuple[int | None, ...] | None

  @classmethod
  def of(cls, info) -> TensorSpec:
    """From a `TensorInfo`."""
    shape = None
    if not info.tensor_shape.unknown_rank:
      shape = tuple(d.size if d.size >= 0 else None for d in info.tensor_shape.dim)
    return cls(info.name, tf.dtypes.as_dtype(info.dtype), shape)

  @property
  def is_batch(self) -> bool:
    """Whether its first dimension may vary."""
    return bool(self.shape) and self.shape[0] is None

  def fits(self, shape: tuple[int, ...]) -> bool:
    if self.shape is None:
      return True
    return len(shape) == len(self.shape) and all(
      wanted in (None, got) for wanted, got in zip(self.shape, shape, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Signature:
  """Inputs and outputs by their names in requests.

  With `is_batch`, examples are along the first dimension of all of them, so that
  several requests can be run as one.
  """

  name: str
  inputs: Mapping[str, TensorSpec]
  outputs: Mapping[str, TensorSpec]
  is_batch: bool

  @classmethod
  def of(cls, name: str, definition) -> Signature | None:
    """From a `SignatureDef`; None if it takes nothing or what is no plain tensor."""
    infos = [*definition.inputs.values(), *definition.outputs.values()]
    if not definition.inputs or not all(map(_is_plain, infos)):
      return None
    inputs = {key: TensorSpec.of(info) for key, info in definition.inputs.items()}
    outputs = {key: TensorSpec.of(info) for key, info in definition.outputs.items()}
    specs = [*inputs.values(), *outputs.values()]
    return cls(name, inputs, outputs, all(spec.is_batch for spec in specs))

  def check_names(self, names: Collection[str]) -> None:
    """Raises `ServingError` unless these are the inputs."""
    if names != self.inputs.keys():
      missing = sorted(self.inputs.keys() - set(names))
      extra = sorted(set(names) - self.inputs.keys())
      raise invalid_argument(
        f"input size does not match signature: {len(names)}!={len(self.inputs)}. "
        f"Sent extra: {_braces(extra)}. Missing but required: {_braces(missing)}."
      )

  def check_outputs(self, names: Iterable[str]) -> None:
    """Raises `ServingError` unless these are outputs, each of them once."""
    seen = set()
    for name in names:
      if name in seen:
        raise invalid_argument(f"duplicate output tensor alias: {name}")
      seen.add(name)
      if name not in self.outputs:
        raise invalid_argument(
          f"output tensor alias not found in signature: {name}. Outputs expected to be "
          f"in the set {_braces(sorted(self.outputs))}."
        )

  def check_shapes(self, feeds: Mapping[str, np.ndarray]) -> None:
    """Raises `ServingError` where an input's shape, or its batch, does not fit."""
    for name, value in feeds.items():
      spec = self.inputs[name]
      if not spec.fits(value.shape):
        wanted = ", ".join("?" if d is None else str(d) for d in spec.shape)
        raise invalid_argument(
          f"input {name!r}: got shape {list(value.shape)}, wanted [{wanted}]"
        )
    if self.is_batch and len({len(value) for value in feeds.values()}) > 1:
      sizes = ", ".join(
        f"{name}: {len(value)}" for name, value in sorted(feeds.items())
      )
      raise invalid_argument(f"inputs differ in their number of examples: {sizes}")


def batch_size(feeds: Mapping[str, np.ndarray]) -> int:
  """Examples in the inputs of a signature with `is_batch`."""
  return len(next(iter(feeds.values())))


def _is_plain(info) -> bool:
  """Whether a `TensorInfo` is of a dense tensor whose values are an array's."""
  try:
    has_arrays = tf.dtypes.as_dtype(info.dtype).as_numpy_dtype is not None
  except (KeyError, TypeError):  # Handles, such as tf.resource's; no dtype at all.
    return False
  return has_arrays and info.WhichOneof("encoding") == "name"


def _braces(names: Iterable[str]) -> str:
  return "{" + ",".join(names) + "}"
