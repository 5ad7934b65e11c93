"""One step of training as an op: gradients, their clipping, and the updates."""

import collections
from collections.abc import Callable, Sequence

import tensorflow as tf

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.number_checks import is_finite
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training.graph import layer_updates
from monolith.native_training.training.graph.model_graph import ModelGraph
from monolith.native_training.training.graph.server_buffers import (
  ServerBuffers,
  task_of,
)

_DEFAULT_DENSE_LEARNING_RATE = 0.05


def train_op(
  model: MonolithModel,
  graph: ModelGraph,
  count: Callable[[], Sequence[tf.Operation]] = lambda: (),
) -> tuple[tf.Operation, tf.Tensor]:
  """One step of training.

  Args:
    count: makes the ops, on the server that holds the global step, that note the batch
      as trained on.

  Returns:
    The op of the whole step, and the global step that it leads to (int64 scalar).

  Raises:
    ValueError: the model has no loss, or nothing to train, or `p.clip_norm` is not a
      limit.
  """
  dense, row_buffers = _clipped(model.p.clip_norm, *_gradients(model, graph))
  embedding = graph.embedding
  packed = ServerBuffers(embedding, [v for g, v in dense if _can_be_packed(g, v)])
  gradient_of = {v.ref(): g for g, v in dense}
  joined = packed.join(
    [[gradient_of.pop(v.ref()) for v in group] for group in packed.variables],
    row_buffers,
  )
  pairs, row_buffers = packed.split(joined)
  pairs += [(g, v) for g, v in dense if v.ref() in gradient_of]
  optimizer = graph.spec.optimizer or tf.compat.v1.train.AdagradOptimizer(
    _DEFAULT_DENSE_LEARNING_RATE
  )
  global_step = tf.compat.v1.train.get_global_step()
  # Counting stays on the server that holds the step: no operand comes from elsewhere.
  with tf.device(global_step.device):
    step_before = tf.identity(global_step.read_value())
    one = tf.constant(1, tf.int64)
  updates = embedding.update(row_buffers, step_before)
  if pairs:
    updates.append(optimizer.apply_gradients(pairs))
  updates += layer_updates.all_of_graph()
  # A batch counts when all that it changes is changed, on every server: whoever reads
  # that it counts, and then saves, saves all of it.
  with (
    tf.device(global_step.device),
    tf.control_dependencies([step_before, *_ends_of_servers(updates)]),
  ):
    counted = global_step.assign_add(one, read_value=True)
    counts = count()
  with tf.device(global_step.device), tf.control_dependencies(counts):
    counted = tf.identity(counted)
  done = tf.identity(counted)
  return done.op, done


def _gradients(
  model: MonolithModel, graph: ModelGraph
) -> tuple[list[tuple[tf.Tensor, tf.Variable]], Sequence[tf.Tensor]]:
  """Gradients with their dense variables, and a buffer of row gradients a server."""
  spec, embedding = graph.spec, graph.embedding
  if spec.loss is None:
    raise ValueError("model_fn returned no loss, which training needs")
  variables = tf.compat.v1.trainable_variables()
  slices = embedding.slices
  if not variables and not slices:
    raise ValueError("the model has neither variables nor embeddings to train")
  gradients = tf.gradients(spec.loss, [*variables, *slices])
  of_slices = gradients[len(variables) :]
  if all(gradient is None for gradient in gradients):
    raise ValueError("the loss depends on no variable and no embedding of the model")
  dense = [
    (_with_decay(gradient, variable, model.p.dense_weight_decay), variable)
    for gradient, variable in zip(gradients, variables, strict=False)
    if gradient is not None
  ]
  row_buffers = embedding.gradient_buffers(
    [
      tf.zeros_like(s) if gradient is None else tf.convert_to_tensor(gradient)
      for gradient, s in zip(of_slices, slices, strict=True)
    ]
  )
  return dense, row_buffers


def _ends_of_servers(updates: list[tf.Operation]) -> list[tf.Operation]:
  """One op on each server, after its last update: one word instead of one for each."""
  by_task = collections.defaultdict(list)
  for op in updates:
    # What groups several devices is a NoOp over one NoOp each.
    for part in op.control_inputs if op.type == "NoOp" else [op]:
      by_task[task_of(part.device)].append(part)
  ends = []
  for parts in by_task.values():
    with tf.device(parts[0].device), tf.control_dependencies(parts):
      ends.append(tf.no_op())
  return ends


def _can_be_packed(gradient, variable) -> bool:
  return (
    isinstance(gradient, tf.Tensor)
    and variable.dtype == tf.float32
    and variable.shape.is_fully_defined()
  )


def _with_decay(gradient, variable, factor: float):
  return gradient + factor * variable if factor else gradient


def _clipped(
  clip_norm: float | None,
  dense: list[tuple[tf.Tensor, tf.Variable]],
  row_buffers: Sequence[tf.Tensor],
) -> tuple[list[tuple[tf.Tensor, tf.Variable]], list[tf.Tensor]]:
  """Scales all gradients so that their joint norm is at most `clip_norm`.

  Fails the step, before anything is updated, where a gradient is not finite.
  """
  if clip_norm is not None and not (is_finite(clip_norm) and clip_norm >= 0):
    raise ValueError(
      f"p.clip_norm: got {clip_norm!r}, wanted a number, 0 or more, or None"
    )
  values = [g.values if isinstance(g, tf.IndexedSlices) else g for g, _ in dense]
  names = [f"variable {v.op.name}" for _, v in dense]
  names += [f"the embeddings of server {i}" for i in range(len(row_buffers))]
  clipped = loader.ops().monolith_clip_by_global_norm(
    [*(tf.cast(v, tf.float32) for v in values), *row_buffers],
    names=names,
    clip_norm=clip_norm or 0.0,
  )
  pairs = [
    (_with_values(gradient, tf.cast(value, gradient.dtype)), variable)
    for (gradient, variable), value in zip(dense, clipped, strict=False)
  ]
  return pairs, clipped[len(dense) :]


def _with_values(gradient, values: tf.Tensor):
  if isinstance(gradient, tf.IndexedSlices):
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
  return values
