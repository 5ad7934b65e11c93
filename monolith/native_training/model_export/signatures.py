"""The signatures of an exported model: what it receives, and what it gives for that.

The model is built once, over what the receiver of `serving_default` yields. For each
further receiver the part of the graph behind the features is copied, with other
features before it; variables and tables are not copied.

Where the tables are elsewhere, a client asks twice: `requests` gives what to ask each
part for, and the other signatures also take the values that the parts have given.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training.graph import heads
from monolith.native_training.training.graph.model_graph import ModelGraph

REQUESTS = "requests"
LOOKUP = "lookup"
DEFAULT = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY

Signatures = dict[str, Any]  # SignatureDefs by name
Outputs = Mapping[str, tf.Tensor]


def receivers(model: MonolithModel) -> dict[str, Any]:
  """The receivers of a model by the names of their signatures, `DEFAULT` among them.

  Raises:
    NotImplementedError: the model has no `serving_input_receiver_fn`.
    TypeError: that function returned something else.
    ValueError: none is the default, or one has alternatives.
  """
  result = model.serving_input_receiver_fn()
  named = dict(result) if isinstance(result, Mapping) else {DEFAULT: result}
  for name, receiver in named.items():
    if not isinstance(name, str) or not hasattr(receiver, "receiver_tensors"):
      raise TypeError(
        f"serving_input_receiver_fn returned {type(receiver).__name__}, wanted a "
        "tf.estimator.export.ServingInputReceiver, or a dict of name to that"
      )
    if receiver.receiver_tensors_alternatives:
      raise ValueError(
        f"serving_input_receiver_fn returned receiver {name!r} with "
        "receiver_tensors_alternatives, which are not exported; return a dict of name "
        "to ServingInputReceiver, with a receiver for each"
      )
  if DEFAULT not in named:
    raise ValueError(
      f"serving_input_receiver_fn returned receivers {', '.join(named) or 'none'}, "
      f"wanted one named {DEFAULT!r} among them"
    )
  return named


def build(
  graph: ModelGraph, named_receivers: Mapping[str, Any], tables_elsewhere: bool = False
) -> Signatures:
  """The signatures of a model.

  Each receiver has one that gives the predictions of all heads, and each extra output
  one with what the default receiver takes; with another receiver's name and an
  underscore before its own, one with what that takes.

  Args:
    graph: the model over the features of the default receiver.
    named_receivers: what `receivers` returned.
    tables_elsewhere: whether rows come from other models: `REQUESTS` gives `request_I`
      for each server I, and all but that take `values_I` as well.

  Raises:
    ValueError: a receiver's features are others than the default's, or two signatures
      have the same name.
  """
  predictions = {head.name: head.pred for head in heads.heads_of(graph.spec)}
  outputs = {"": predictions, **graph.extra_outputs}
  values: dict[str, tf.Tensor] = {}
  if tables_elsewhere and graph.embedding.requests:
    if REQUESTS in outputs:
      raise ValueError(f"signature {REQUESTS!r}: there are two of this name")
    requests = enumerate(graph.embedding.requests)
    outputs[REQUESTS] = {f"request_{i}": request for i, request in requests}
    values = {
      f"values_{i}": graph.embedding.looked_up(i) for i in range(len(outputs[REQUESTS]))
    }
  default = named_receivers[DEFAULT]
  result: Signatures = {}
  for receiver_name, receiver in named_receivers.items():
    given: Mapping[str, Outputs] = outputs
    if receiver is not default:
      given = _given_by_copy(
        receiver_name, receiver, default, outputs, list(values.values())
      )
    for extra_name, tensors in given.items():
      name = receiver_name
      if extra_name:
        name = extra_name if receiver is default else f"{receiver_name}_{extra_name}"
      if name in result:
        raise ValueError(f"signature {name!r}: there are two of this name")
      inputs = dict(receiver.receiver_tensors)
      if extra_name != REQUESTS or not tables_elsewhere:
        inputs.update(values)
      result[name] = tf.compat.v1.saved_model.predict_signature_def(inputs, tensors)
  return result


def of_tables(handle: tf.Tensor) -> Signatures:
  """The signature of a model that has tables only: `LOOKUP` takes `request`, int64
  `[n]`, and gives `values`, float32 `[m]`.

  Args:
    handle: of `MonolithCompactTables`.
  """
  request = tf.compat.v1.placeholder(tf.int64, [None], name="request")
  values = loader.ops().monolith_compact_lookup(handle, request)
  return {
    LOOKUP: tf.compat.v1.saved_model.predict_signature_def(
      {"request": request}, {"values": values}
    )
  }


def _given_by_copy(
  name: str,
  receiver: Any,
  default: Any,
  outputs: Mapping[str, Outputs],
  fed: Sequence[tf.Tensor],
) -> dict[str, dict[str, tf.Tensor]]:
  """The outputs for the features of another receiver than the default one.

  Args:
    fed: tensors that are fed and therefore not copied.
  """
  replaced = {
    old.name: new
    for old, new in _pairs_of_features(name, receiver.features, default.features)
  }
  flat = [t for tensors in outputs.values() for t in tensors.values()]
  graph = tf.compat.v1.get_default_graph()
  needed = tf.compat.v1.graph_util.extract_sub_graph(
    graph.as_graph_def(), sorted({t.op.name for t in flat})
  )
  names = {node.name for node in needed.node}
  kept = {t.name: t for op in graph.get_operations() for t in _state_of(op)}
  kept.update({t.name: t for t in fed})
  copies = iter(
    tf.import_graph_def(
      needed,
      input_map={
        key: tensor
        for key, tensor in {**kept, **replaced}.items()
        if key.partition(":")[0] in names
      },
      return_elements=[t.name for t in flat],
      name="signature_" + re.sub(r"\W", "_", name, flags=re.ASCII),
    )
  )
  return {
    extra: {key: next(copies) for key in tensors} for extra, tensors in outputs.items()
  }


def _state_of(op: tf.Operation) -> list[tf.Tensor]:
  """Outputs that stand for variables or tables, which have to stay the same ones."""
  if op.inputs:
    return []
  return [t for t in op.outputs if t.dtype == tf.resource or t.dtype._is_ref_dtype]


def _pairs_of_features(
  name: str, features: Mapping[str, Any], default: Mapping[str, Any]
) -> list[tuple[tf.Tensor, tf.Tensor]]:
  """Every tensor of the default features, and the one that takes its place."""
  pairs = []
  for key, old in default.items():
    new = features.get(key)
    if new is None:
      raise ValueError(
        f"receiver {name!r}: got features {', '.join(sorted(features))}, wanted also "
        f"{key!r}, which the one named {DEFAULT!r} gives"
      )
    new = _of_kind(new, old)
    old_parts = tf.nest.flatten(old, expand_composites=True)
    new_parts = tf.nest.flatten(new, expand_composites=True)
    if _kinds(old, old_parts) != _kinds(new, new_parts):
      raise ValueError(
        f"receiver {name!r}: feature {key!r} is {new}, wanted a tensor of the same "
        f"kind and type as that of {DEFAULT!r}, {old}"
      )
    pairs += zip(old_parts, new_parts, strict=True)
  return pairs


def _of_kind(feature: Any, wanted: Any) -> Any:
  """A feature as a ragged tensor, where such a one is wanted and nothing is lost."""
  if not isinstance(wanted, tf.RaggedTensor):
    return feature
  if isinstance(feature, tf.SparseTensor):
    feature = tf.RaggedTensor.from_sparse(feature)
  elif isinstance(feature, tf.Tensor):
    feature = tf.RaggedTensor.from_tensor(feature)
  if isinstance(feature, tf.RaggedTensor):
    feature = feature.with_row_splits_dtype(wanted.row_splits.dtype)
  return feature


def _kinds(feature: Any, parts: list[tf.Tensor]) -> list[Any]:
  kind = next(
    (k for k in (tf.RaggedTensor, tf.SparseTensor) if isinstance(feature, k)), tf.Tensor
  )
  return [kind, *(part.dtype for part in parts)]
