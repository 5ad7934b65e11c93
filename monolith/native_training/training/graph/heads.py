"""What a model returns, and the predictions ("heads") in it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

DEFAULT_HEAD = "default"


@dataclasses.dataclass
class EstimatorSpec:
  """What `model_fn` returns.

  A model with several heads gives lists of the same length, or dicts with the same
  keys, which then name the heads.

  Attributes:
    label: float32, one value an example; None where there is none (prediction).
    pred: float32, one value an example; for a classifier a probability.
    head_name: name of the head in metrics and predictions.
    loss: float32 scalar over all heads. Training needs it.
    optimizer: a `tf.compat.v1.train.Optimizer` for the dense variables; default
      `AdagradOptimizer(0.05)`. Embeddings have optimizers of their own.
    classification: evaluate as a classifier (AUC) or as a regression (RMSE, MAE); one
      value for all heads or one a head.
  """

  label: Any
  pred: Any
  head_name: Any = None
  loss: tf.Tensor | None = None
  optimizer: Any = None
  classification: Any = True


@dataclasses.dataclass(frozen=True)
class Head:
  """One prediction of a model."""

  name: str
  label: tf.Tensor | None
  pred: tf.Tensor
  classification: bool


def as_spec(result: Any) -> EstimatorSpec:
  """What `model_fn` returned as an `EstimatorSpec`, checked.

  Raises:
    TypeError: it is neither a spec nor `(loss, label, pred)`.
    ValueError: the loss, the optimizer or the heads are not usable.
  """
  if isinstance(result, tuple) and len(result) == 3:
    loss, label, pred = result
    result = EstimatorSpec(label=label, pred=pred, loss=loss)
  if not isinstance(result, EstimatorSpec):
    raise TypeError(
      f"model_fn returned {type(result).__name__}, wanted an EstimatorSpec or "
      "(loss, label, pred)"
    )
  if result.loss is not None and not tf.is_tensor(result.loss):
    raise ValueError(f"loss: got {result.loss!r}, wanted a scalar tensor")
  if result.loss is not None and result.loss.shape.rank not in (0, None):
    raise ValueError(
      f"loss: got shape {result.loss.shape}, wanted a scalar; reduce it with "
      "tf.reduce_mean"
    )
  optimizer = result.optimizer
  if optimizer is not None and not isinstance(optimizer, tf.compat.v1.train.Optimizer):
    raise ValueError(
      f"optimizer: got {type(optimizer).__name__}, wanted a "
      "tf.compat.v1.train.Optimizer"
    )
  for head in heads_of(result):
    _check_sizes(head)
  return result


def heads_of(spec: EstimatorSpec) -> list[Head]:
  """The heads of a spec.

  Raises:
    ValueError: labels, predictions and names do not match up.
  """
  if spec.pred is None:
    raise ValueError("pred: got None, wanted a tensor, or a list or dict of them")
  if isinstance(spec.pred, (Mapping, Sequence)) and not spec.pred:
    raise ValueError("pred: got no heads, wanted at least one")
  if isinstance(spec.pred, Mapping):
    names, preds = list(spec.pred), list(spec.pred.values())
  elif isinstance(spec.pred, Sequence):
    preds = list(spec.pred)
    names = _listed(spec.head_name, "head_name", len(preds))
    if names[0] is None:
      names = [f"{DEFAULT_HEAD}_{i}" for i in range(len(preds))]
  else:
    if isinstance(spec.head_name, (list, tuple)) and len(spec.head_name) != 1:
      raise ValueError(f"head_name: got {spec.head_name}, wanted one name")
    preds = [spec.pred]
    names = _listed(spec.head_name, "head_name", 1)
    names = [names[0] or DEFAULT_HEAD]
  if len(set(names)) != len(names):
    raise ValueError(f"head_name: got {names}, wanted names that differ")
  labels = _aligned(spec.label, "label", names)
  classification = _aligned(spec.classification, "classification", names)
  return [
    Head(name, label, pred, bool(is_class))
    for name, label, pred, is_class in zip(
      names, labels, preds, classification, strict=True
    )
  ]


def _check_sizes(head: Head) -> None:
  """Whether there is a label for every value predicted, where shapes are known."""
  for what, value in (("pred", head.pred), ("label", head.label)):
    if not hasattr(value, "shape") and not (what == "label" and value is None):
      raise ValueError(f"head {head.name!r}: {what}: got {value!r}, wanted a tensor")
  if head.label is None:
    return
  label, pred = tf.TensorShape(head.label.shape), tf.TensorShape(head.pred.shape)
  sizes = {label.num_elements(), pred.num_elements()}
  if label.rank and pred.rank and label[:1].is_compatible_with(pred[:1]):
    sizes_of_examples = {label[1:].num_elements(), pred[1:].num_elements()}
  else:
    sizes_of_examples = set()
  for known in (sizes, sizes_of_examples):
    if len(known - {None}) > 1:
      raise ValueError(
        f"head {head.name!r}: got label of shape {label} for pred of shape {pred}, "
        "wanted one value each"
      )


def _aligned(value: Any, what: str, names: list[str]) -> list[Any]:
  if isinstance(value, Mapping):
    if set(value) != set(names):
      raise ValueError(
        f"{what}: got heads {sorted(value)}, wanted those of pred, {sorted(names)}"
      )
    return [value[name] for name in names]
  return _listed(value, what, len(names))


def _listed(value: Any, what: str, size: int) -> list[Any]:
  """`value` as a list of `size`; one that is no list stands for every head."""
  if not isinstance(value, (list, tuple)):
    return [value] * size
  if len(value) != size:
    raise ValueError(f"{what}: got {len(value)} entries, wanted {size}, one a pred")
  return list(value)
