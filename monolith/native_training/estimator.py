"""`Estimator`: trains, evaluates and predicts; `RunnerConfig` and `EstimatorSpec`.

estimator = Estimator(Ranking.params().instantiate(), RunnerConfig(model_dir=folder))
estimator.train(max_steps=1000)
print(estimator.evaluate())
"""

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

import monolith.native_training.tensorflow_compat  # noqa: F401
from monolith.native_training.model_export import saved_model
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.number_checks import is_whole
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training import checkpoint as checkpoint_lib
from monolith.native_training.training import (
  coordination,
  evaluator,
  inference,
  summaries,
)
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.heads import EstimatorSpec
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.train_loop import TrainLoop

__all__ = ["Estimator", "EstimatorSpec", "RunnerConfig"]

Hooks = Sequence[tf.compat.v1.train.SessionRunHook]


class Estimator:
  """Runs a model in the role that `TF_CONFIG` gives this process.

  Args:
    model: a `MonolithModel`, or its parameters.
    conf: where and how it runs.
    warm_start_from: folder of a model (its newest checkpoint), or path of a checkpoint,
      to take initial values from; only used where `model_dir` has no checkpoint.

  Raises:
    TypeError: `model` or `conf` is something else.
  """

  def __init__(
    self,
    model: MonolithModel,
    conf: RunnerConfig | None = None,
    warm_start_from: str | None = None,
  ):
    if hasattr(model, "instantiate"):
      model = model.instantiate()
    if not isinstance(model, MonolithModel):
      raise TypeError(f"model: got {type(model).__name__}, wanted a MonolithModel")
    conf = RunnerConfig() if conf is None else conf
    if not isinstance(conf, RunnerConfig):
      raise TypeError(f"conf: got {type(conf).__name__}, wanted a RunnerConfig")
    if not conf.model_dir:
      if conf.cluster().is_distributed or conf.cluster().task_type == "evaluator":
        raise ValueError(
          "RunnerConfig.model_dir: got none, but the job has several processes, which "
          "need one folder that all of them see"
        )
      # A model's name may have slashes, a file's may not.
      folder = tempfile.mkdtemp(prefix=re.sub(r"[^\w.-]", "_", f"{model.p.name}-"))
      logging.warning("no model_dir was given; using the temporary folder %s", folder)
      conf = dataclasses.replace(conf, model_dir=folder)
    self._model = model
    self._config = conf
    self._warm_start_from = warm_start_from
    self._cluster = conf.cluster()
    self._job_is_over = False

  @property
  def model_dir(self) -> str:
    return self._config.model_dir

  @property
  def config(self) -> RunnerConfig:
    return self._config

  def latest_checkpoint(self) -> str | None:
    """Path of the newest complete checkpoint, without suffix, or None."""
    return checkpoint_lib.latest_checkpoint(self.model_dir)

  def train(
    self,
    steps: int | None = None,
    max_steps: int | None = None,
    hooks: Hooks | None = None,
  ) -> "Estimator":
    """Plays this process's part in training, and returns when that is over.

    A chief or worker trains, a parameter server serves until the chief is done, an
    evaluator evaluates every new checkpoint until training is over. Training continues
    from the newest checkpoint in `model_dir`.

    Args:
      steps: global steps to go; default `p.train.steps`.
      max_steps: global step to stop at; default `p.train.max_steps`. With neither,
        until the data end. Several workers may go beyond it, and beyond `steps`, by as
        many steps as there are other workers, because each ends the step it is in.
      hooks: called around each step.

    Returns:
      This estimator.

    Raises:
      ValueError: `steps` or `max_steps` is not positive, or the model is not usable.
      tf.errors.InvalidArgumentError: a batch is not usable, or a gradient not finite.
      RuntimeError: called again in a cluster with parameter servers, which leave when
        the job is over.
      TimeoutError: another process of the job has been silent for too long.
    """
    if steps is None and max_steps is None:
      steps, max_steps = self._model.p.train.steps, self._model.p.train.max_steps
    _check_steps("steps", steps)
    _check_steps("max_steps", max_steps)
    cluster = self._cluster
    timeout_secs = self._config.worker_timeout_secs
    if cluster.task_type == "evaluator":
      for path in evaluator.new_checkpoints(self.model_dir, timeout_secs):
        self._evaluate_if_there(path)
      return self
    if self._job_is_over:
      raise RuntimeError(
        "train: the job that TF_CONFIG describes is over, and its parameter servers "
        "have left. Start its processes again to train further"
      )
    self._job_is_over = cluster.is_distributed
    target = _start_server(cluster) if cluster.is_distributed else ""
    if cluster.task_type == "ps":
      coordination.serve_until_released(cluster, target, timeout_secs)
      return self
    on_save = None
    if self._model.p.serving.export_when_saving:
      saved_model.check_exportable(self._model)
      on_save = self._export_saved
    loop = TrainLoop(
      self._model, self._config, cluster, target, self._warm_start_from, on_save
    )
    loop.run(steps, max_steps, hooks or ())
    return self

  def evaluate(
    self, steps: int | None = None, hooks: Hooks | None = None
  ) -> dict[str, float]:
    """Evaluates the newest checkpoint in this process.

    Args:
      steps: batches to read; default `p.eval.steps`, None there is all of the data.
      hooks: called around each step.

    Returns:
      `loss`, `global_step`, `examples`, and for each head `HEAD/label_mean`,
      `HEAD/pred_mean`, and `HEAD/auc` or `HEAD/rmse` and `HEAD/mae`.

    Raises:
      ValueError: `steps` is not positive, there is no checkpoint, or the data have no
        examples.
    """
    _check_steps("steps", self._model.p.eval.steps if steps is None else steps)
    path = self._required_checkpoint(None)
    return self._evaluate(path, steps, hooks)

  def _evaluate(
    self, path: str, steps: int | None = None, hooks: Hooks | None = None
  ) -> dict[str, float]:
    steps = self._model.p.eval.steps if steps is None else steps
    metrics = inference.evaluate(self._model, path, steps, hooks)
    folder = os.path.join(self.model_dir, "eval")
    try:
      summaries.write(folder, metrics["global_step"], metrics)
    # TensorFlow's writer raises a RuntimeError. The metrics are there all the same.
    except (OSError, RuntimeError, tf.errors.OpError) as error:
      logging.warning(
        "cannot write summaries of the evaluation to %s: %s", folder, error
      )
    return metrics

  def _evaluate_if_there(self, path: str) -> None:
    """Evaluates a checkpoint, unless the chief removes it on the way."""
    try:
      self._evaluate(path)
    except ValueError:
      if checkpoint_lib.is_complete(path):
        raise
      logging.info("%s was removed before it was evaluated", path)

  def predict(
    self,
    predict_keys: Sequence[str] | str | None = None,
    hooks: Hooks | None = None,
    checkpoint_path: str | None = None,
    yield_single_examples: bool = True,
  ) -> Iterator[dict[str, Any]]:
    """Predicts on what `input_fn(PREDICT)` yields, in this process.

    Args:
      predict_keys: the heads to predict, or one; default all.
      hooks: called around each step.
      checkpoint_path: default the newest.
      yield_single_examples: one example at a time, or a batch.

    Yields:
      A dict of head name to NumPy array: `[...]` of an example, or `[batch, ...]`.

    Raises:
      ValueError: there is no checkpoint, or no such head.
    """
    keys = [predict_keys] if isinstance(predict_keys, str) else predict_keys
    if keys is not None and not (
      isinstance(keys, Sequence) and keys and all(isinstance(key, str) for key in keys)
    ):
      raise ValueError(
        f"predict_keys: got {predict_keys!r}, wanted names of heads, or None for all"
      )
    path = self._required_checkpoint(checkpoint_path)
    return inference.predict(self._model, path, keys, hooks, yield_single_examples)

  def export_saved_model(
    self, export_dir_base: str | None = None, checkpoint_path: str | None = None
  ) -> str:
    """Exports a checkpoint as a SavedModel, in this process.

    Args:
      export_dir_base: default `p.serving.export_dir_base` inside `model_dir`.
      checkpoint_path: default the newest.

    Returns:
      The new folder, `export_dir_base/SECONDS`.

    Raises:
      ValueError: there is no checkpoint.
      NotImplementedError: the model has no `serving_input_receiver_fn`.
    """
    path = self._required_checkpoint(checkpoint_path)
    folder = export_dir_base or os.path.join(
      self.model_dir, self._model.p.serving.export_dir_base
    )
    return saved_model.export(self._model, path, folder)

  def _export_saved(self, path: str) -> None:
    """Exports a checkpoint just saved; keeps as many exports as checkpoints."""
    folder = os.path.dirname(self.export_saved_model(checkpoint_path=path))
    saved_model.keep_newest(folder, self._config.checkpoints_max_to_keep)

  def _required_checkpoint(self, path: str | None) -> str:
    if path is not None:
      path = os.fspath(path) if isinstance(path, os.PathLike) else path
      if not isinstance(path, str) or not checkpoint_lib.is_complete(path):
        raise ValueError(
          f"checkpoint_path: got {path!r}, which is no complete checkpoint; wanted a "
          "path without suffix, such as MODEL_DIR/model.ckpt-1000"
        )
      return path
    path = self.latest_checkpoint()
    if path is None:
      raise ValueError(
        f"model_dir {self.model_dir!r} has no complete checkpoint; train first"
      )
    return path


def _check_steps(name: str, value: int | None) -> None:
  if value is not None and (not is_whole(value) or value < 1):
    raise ValueError(f"{name}: got {value!r}, wanted a whole number above 0")


def _start_server(cluster: Cluster) -> str:
  """Starts this process's TensorFlow server; returns its target for sessions."""
  loader.ops()  # A server runs the ops of graphs that others have built.
  try:
    server = tf.distribute.Server(
      cluster.spec(), job_name=cluster.task_type, task_index=cluster.task_index
    )
  except tf.errors.OpError as error:
    raise RuntimeError(
      f"{cluster.task_type} {cluster.task_index} cannot listen on {cluster.address}; "
      f"is the port in use? ({error.message})"
    ) from error
  return server.target
