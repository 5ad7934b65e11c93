"""One step of training as an op: gradients, their clipping, and the updates."""

import collections
from collections.abc import Sequence

import tensorflow as tf

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.model_graph import ModelGraph
from monolith.native_training.training.server_buffers import ServerBuffers, task_of

_DEFAULT_DENSE_LEARNING_RATE = 0.05


def train_op(model: MonolithModel, graph: ModelGraph) -> tuple[tf.Operation, tf.Tensor]:
  """One step of training.

  Returns:
    The op of the whole step, and the global step that it leads to (int64 scalar).

  Raises:
    ValueError: the model has no loss, or nothing to train.
  """
  dense, row_buffers = _gradients(model, graph)
  embedding = graph.embedding
  packed = ServerBuffers(embedding, [v for g, v in dense if _can_be_packed(g, v)])
  gradient_of = {v.ref(): g for g, v in dense}
  joined = packed.join(
    [[gradient_of.pop(v.ref()) for v in group] for group in packed.variables],
    row_buffers,
  )
  rest = [(g, v) for g, v in dense if v.ref() in gradient_of]
  clipped = _clip([*joined, *(g for g, _ in rest)], model.p.clip_norm)
  pairs, row_buffers = packed.split(clipped[: len(joined)])
  pairs += [(g, v) for g, (_, v) in zip(clipped[len(joined) :], rest, strict=True)]
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
  # The step counts once the first server, which holds it too, has its part: a batch
  # that fails does not count, and the server waits for no other.
  with (
    tf.device(global_step.device),
    tf.control_dependencies([step_before, updates[0]]),
  ):
    counted = global_step.assign_add(one, read_value=True)
  return _joined_end(updates, counted)


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


def _joined_end(
  updates: list[tf.Operation], counted: tf.Tensor
) -> tuple[tf.Operation, tf.Tensor]:
  """Lets each server report once, after its last update; the one that counts reports
  with the step."""
  by_task = collections.defaultdict(list)
  for op in updates:
    # What groups several devices is a NoOp over one NoOp each.
    for part in op.control_inputs if op.type == "NoOp" else [op]:
      by_task[task_of(part.device)].append(part)
  own = by_task.pop(task_of(counted.device), [])
  ends = []
  for parts in by_task.values():
    with tf.device(parts[0].device), tf.control_dependencies(parts):
      ends.append(tf.no_op())
  with tf.device(counted.device), tf.control_dependencies(own):
    counted = tf.identity(counted)
  with tf.control_dependencies(ends):
    done = tf.identity(counted)
  return done.op, done


def _can_be_packed(gradient, variable) -> bool:
  return (
    isinstance(gradient, tf.Tensor)
    and variable.dtype == tf.float32
    and variable.shape.is_fully_defined()
  )


def _with_decay(gradient, variable, factor: float):
  return gradient + factor * variable if factor else gradient


def _clip(gradients: list, clip_norm: float | None) -> list:
  """Scales gradients so that their joint norm is at most `clip_norm`.

  Fails the step, before anything is updated, where the norm is not finite.
  """
  if clip_norm is not None and not 0 <= clip_norm < float("inf"):
    raise ValueError(f"p.clip_norm: got {clip_norm!r}, wanted 0 or more, or None")
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
