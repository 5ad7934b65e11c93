"""A model as a graph: its input, its loss, and the op that trains it."""

import dataclasses
from typing import Any

import tensorflow as tf

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training import heads
from monolith.native_training.training.cluster import Cluster

_DEFAULT_DENSE_LEARNING_RATE = 0.05


@dataclasses.dataclass
class ModelGraph:
  """A model built into the default graph.

  Attributes:
    features: the batch it reads.
    spec: what `model_fn` returned.
    embedding: its tables.
  """

  features: dict[str, Any]
  spec: heads.EstimatorSpec
  embedding: ShardedEmbedding

  def batch_size(self) -> tf.Tensor:
    """Examples of the batch: int64 scalar."""
    return tf.cast(_rows(next(iter(self.features.values()))), tf.int64)


def _rows(tensor) -> tf.Tensor:
  if isinstance(tensor, tf.RaggedTensor):
    return tensor.nrows()
  if isinstance(tensor, tf.SparseTensor):
    return tensor.dense_shape[0]
  return tf.shape(tensor, out_type=tf.int64)[0] if tensor.shape.rank else 1


def read_batch(model: MonolithModel, mode: str, cluster: Cluster) -> dict[str, Any]:
  """The next batch of the model's data, in the default graph.

  Raises:
    TypeError: `input_fn` returned no dataset of dicts.
  """
  with cluster.input_environment():
    dataset = model.input_fn(mode)
  if not isinstance(dataset, tf.data.Dataset):
    raise TypeError(
      f"input_fn returned {type(dataset).__name__}, wanted a batched tf.data.Dataset"
    )
  if not isinstance(dataset.element_spec, dict) or not dataset.element_spec:
    raise TypeError(
      f"input_fn returned a dataset of {dataset.element_spec}, wanted dicts of name to "
      "tensor"
    )
  iterator = tf.compat.v1.data.make_initializable_iterator(dataset)
  tf.compat.v1.add_to_collection(
    tf.compat.v1.GraphKeys.TABLE_INITIALIZERS, iterator.initializer
  )
  return iterator.get_next()


def build(
  model: MonolithModel,
  features: dict[str, Any],
  mode: str,
  servers=(None,),
  tables_name: str = "",
) -> ModelGraph:
  """Builds the model over a batch.

  Args:
    features: what `model_fn` gets.
    servers: the devices of the servers that hold the tables.
    tables_name: name of the tables on their servers; `''` is the model's name.
  """
  result, embedding = model.build(
    dict(features),
    mode,
    servers=servers,
    shared_name=f"tables/{tables_name or model.p.name}",
    missing="initial" if mode == tf.estimator.ModeKeys.TRAIN else "zero",
  )
  return ModelGraph(features, heads.as_spec(result), embedding)


def train_op(
  model: MonolithModel, graph: ModelGraph
) -> tuple[tf.Operation, tf.Tensor]:
  """One step of training.

  Returns:
    The op of the whole step, and the global step that it leads to (int64 scalar).

  Raises:
    ValueError: the model has no loss, or nothing to train.
  """
  spec, embedding = graph.spec, graph.embedding
  if spec.loss is None:
    raise ValueError("model_fn returned no loss, which training needs")
  variables = tf.compat.v1.trainable_variables()
  slices = embedding.slices
  if not variables and not slices:
    raise ValueError("the model has neither variables nor embeddings to train")
  gradients = tf.gradients(spec.loss, [*variables, *slices])
  dense = [
    (_with_decay(gradient, variable, model.p.dense_weight_decay), variable)
    for gradient, variable in zip(gradients, variables)  # noqa: B905: slices follow.
    if gradient is not None
  ]
  buffers = embedding.gradient_buffers(
    [
      tf.zeros_like(s) if gradient is None else tf.convert_to_tensor(gradient)
      for gradient, s in zip(gradients[len(variables) :], slices, strict=True)
    ]
  )
  clipped = _clip([g for g, _ in dense] + list(buffers), model.p.clip_norm)
  optimizer = spec.optimizer or tf.compat.v1.train.AdagradOptimizer(
    _DEFAULT_DENSE_LEARNING_RATE
  )
  global_step = tf.compat.v1.train.get_global_step()
  step_before = tf.identity(global_step.read_value())
  updates = embedding.update(clipped[len(dense) :], step_before)
  if dense:
    updates.append(
      optimizer.apply_gradients(
        [(g, v) for g, (_, v) in zip(clipped, dense)]  # noqa: B905: buffers follow.
      )
    )
  # The step counts once the first server, which holds it too, has its part: a batch
  # that fails does not count, and the server waits for no other.
  with tf.control_dependencies([step_before, updates[0]]):
    counted = global_step.assign_add(1, read_value=True)
  return tf.group(*updates, counted), counted


def _with_decay(gradient, variable, factor: float):
  return gradient + factor * variable if factor else gradient


def _clip(gradients: list, clip_norm: float | None) -> list:
  """Scales gradients so that their joint norm is at most `clip_norm`.

  Fails the step, before anything is updated, where the norm is not finite.
  """
  if not gradients:
    return gradients
  norm = tf.debugging.check_numerics(
    tf.linalg.global_norm(gradients),
    "the norm of the dense variables' gradients is not finite; a smaller learning rate "
    "or a check of the features and labels may help. norm",
  )
  limit = tf.constant(clip_norm or tf.float32.max, tf.float32)
  scale = limit / tf.maximum(norm, limit)  # Exactly 1 while the norm is within it.
  return [_scaled(gradient, scale) for gradient in gradients]


def _scaled(gradient, scale: tf.Tensor):
  if isinstance(gradient, tf.IndexedSlices):
    return tf.IndexedSlices(
      gradient.values * scale, gradient.indices, gradient.dense_shape
    )
  return gradient * scale
