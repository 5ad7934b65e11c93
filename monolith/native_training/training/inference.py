"""Evaluation and prediction: one process, from a checkpoint."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.progress_log import progress_log
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training.checkpoints.checkpoint import step_of
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer
from monolith.native_training.training.checkpoints.sound_checkpoint import Finder
from monolith.native_training.training.graph import heads, model_graph
from monolith.native_training.training.processes.cluster import alone
from monolith.native_training.training.session import Beginning, ReadySessionCreator


class _RestoredModel:
  """A model in a graph of its own, restored from the first checkpoint that is sound.

  Attributes:
    checkpoint: the path of that, once there is a session.
  """

  def __init__(self, model: MonolithModel, mode: str, find_checkpoints: Finder):
    self._find_checkpoints = find_checkpoints
    tf.compat.v1.train.get_or_create_global_step()
    features = model_graph.read_batch(model, mode, alone()).features
    self.graph = model_graph.build(model, features, mode)
    self._checkpointer = Checkpointer(self.graph.embedding, for_training=False)

  def session(self, hooks: Sequence[tf.compat.v1.train.SessionRunHook] | None):
    creator = ReadySessionCreator(
      alone(),
      "",
      self._checkpointer,
      self._find_checkpoints,
      on_begin=self._note_checkpoint,
    )
    return tf.compat.v1.train.MonitoredSession(creator, hooks=list(hooks or ()))

  def _note_checkpoint(self, session, beginning: Beginning) -> None:
    del session
    self.checkpoint = beginning.checkpoint


def evaluate(
  model: MonolithModel,
  find_checkpoints: Finder,
  steps: int | None = None,
  hooks: Sequence[tf.compat.v1.train.SessionRunHook] | None = None,
) -> dict[str, float]:
  """Metrics of a checkpoint on the model's evaluation data.

  Args:
    find_checkpoints: returns paths, the best first: another is used only when those
      before it are refused. Is asked again where one was removed meanwhile.

  Returns:
    `loss` (mean over examples), `global_step`, `examples`, and for each head
    `HEAD/label_mean`, `HEAD/pred_mean` and `HEAD/auc`, or `HEAD/rmse` and `HEAD/mae`.

  Raises:
    AllRefusedError: no checkpoint is sound.
    ValueError: the data have no examples.
  """
  with tf.Graph().as_default():
    restored = _RestoredModel(model, tf.estimator.ModeKeys.EVAL, find_checkpoints)
    graph = restored.graph
    batch_size = graph.batch_size()
    values, updates = {}, []
    for name, (value, update) in _metrics(graph, batch_size).items():
      values[name] = value
      updates.append(update)
    examples = done = 0
    with restored.session(hooks) as session:
      with contextlib.suppress(tf.errors.OutOfRangeError):
        while (steps is None or done < steps) and not session.should_stop():
          with core_errors.told_plainly():
            examples += int(session.run([batch_size, updates])[0])
          done += 1
      result = {k: float(v) for k, v in session._tf_sess().run(values).items()}
  if not examples:
    raise ValueError("the evaluation data have no examples")
  step = step_of(restored.checkpoint)
  result.update(global_step=step, examples=examples)
  progress_log.info(
    "evaluation at step %d: %s",
    step,
    ", ".join(f"{k} {v:.5g}" for k, v in sorted(result.items())),
  )
  return result


def _metrics(graph: model_graph.ModelGraph, batch_size) -> dict[str, tuple]:
  """Name to (value, update op) of TensorFlow's streaming metrics."""
  streaming = tf.compat.v1.metrics
  metrics = {}
  if graph.spec.loss is not None:
    weight = tf.cast(batch_size, tf.float32)
    metrics["loss"] = streaming.mean(graph.spec.loss, weight)
  for head in heads.heads_of(graph.spec):
    metrics[f"{head.name}/pred_mean"] = streaming.mean(head.pred)
    if head.label is None:
      continue
    fits = tf.debugging.assert_equal(
      tf.size(head.label),
      tf.size(head.pred),
      f"head {head.name!r}: label and pred have different numbers of values",
    )
    with tf.control_dependencies([fits]):
      label = tf.reshape(tf.cast(head.label, tf.float32), tf.shape(head.pred))
    metrics[f"{head.name}/label_mean"] = streaming.mean(label)
    if head.classification:
      probability = tf.debugging.assert_less_equal(
        tf.abs(head.pred - 0.5),
        0.5,
        f"head {head.name!r} is a classifier, whose pred is a probability, but its "
        "values leave [0, 1]. Apply tf.sigmoid, or return an EstimatorSpec with "
        "classification=False",
      )
      with tf.control_dependencies([probability]):
        pred = tf.identity(head.pred)
      metrics[f"{head.name}/auc"] = streaming.auc(
        label, pred, summation_method="careful_interpolation"
      )
    else:
      metrics[f"{head.name}/rmse"] = streaming.root_mean_squared_error(label, head.pred)
      metrics[f"{head.name}/mae"] = streaming.mean_absolute_error(label, head.pred)
  return metrics


def predict(
  model: MonolithModel,
  find_checkpoints: Finder,
  predict_keys: Sequence[str] | None = None,
  hooks: Sequence[tf.compat.v1.train.SessionRunHook] | None = None,
  yield_single_examples: bool = True,
) -> Iterator[dict[str, Any]]:
  """Predictions of the first checkpoint that is sound on the model's data, see
  `Estimator.predict`."""
  with tf.Graph().as_default() as tf_graph:
    restored = _RestoredModel(model, tf.estimator.ModeKeys.PREDICT, find_checkpoints)
    predictions = {h.name: h.pred for h in heads.heads_of(restored.graph.spec)}
    for key in predict_keys or ():
      if key not in predictions:
        raise ValueError(
          f"predict_keys: got {key!r}, the model's heads are {', '.join(predictions)}"
        )
    if predict_keys:
      predictions = {key: predictions[key] for key in predict_keys}
    session = restored.session(hooks)
  # The graph is left before the first yield: the caller's own graph stays current.
  with contextlib.ExitStack() as stack:
    stack.callback(session.close)
    while not session.should_stop():
      with tf_graph.as_default():
        try:
          with core_errors.told_plainly():
            batch = session.run(predictions)
        except tf.errors.OutOfRangeError:
          return
      if yield_single_examples:
        for name, values in batch.items():
          if not np.ndim(values):
            raise ValueError(f"head {name!r}: pred is a scalar, wanted one an example")
        for i in range(len(next(iter(batch.values())))):
          yield {name: np.asarray(values[i]) for name, values in batch.items()}
      else:
        yield batch
