"""`Estimator`: trains, evaluates and predicts; `RunnerConfig` and `EstimatorSpec`.

estimator = Estimator(Ranking.params().instantiate(), RunnerConfig(model_dir=folder))
estimator.train(max_steps=1000)
print(estimator.evaluate())
"""

import dataclasses
import functools
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

import monolith.native_training.tensorflow_compat  # noqa: F401
from monolith.native_training.folder_names import check_is_no_pattern
from monolith.native_training.local_files import local_path
from monolith.native_training.model_export import (
  export_folder,
  exported_checkpoint,
  saved_model,
)
from monolith.native_training.model_export.abandonment import (
  Abandonment,
  ExportAbandonedError,
)
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.number_checks import is_whole
from monolith.native_training.runtime.ops import loader
from monolith.native_training.training import evaluator, inference
from monolith.native_training.training.checkpoints import checkpoint as checkpoint_lib
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  MisfitError,
  StorageError,
)
from monolith.native_training.training.graph.heads import EstimatorSpec
from monolith.native_training.training.processes import serving, stop_request
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.progress import summaries
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
      with or without `.index` or `.tables`, to take initial values from; only used
      where `model_dir` has no checkpoint.

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
    from the newest sound checkpoint in `model_dir`; a damaged one is passed over and
    renamed, which the log says. Slices and dense variables that the model has gained,
    and dense variables that have another shape or dtype now, begin with initial values,
    with a warning; `evaluate`, `predict` and `export_saved_model` refuse such a
    checkpoint.

    Where training was interrupted, every worker goes on in its data where the model
    was, by the number of batches that it leaves out: exactly there if `input_fn` yields
    the same batches in the same order each time. To leave them out it reads them. After
    training that has come to its end, or with another number of workers, the data begin
    anew. A worker or chief that was restarted joins the job that is running, and
    nothing is trained again; when a parameter server was restarted, all go back to the
    last checkpoint, and the batches since are trained again. What a worker has handed
    in at the moment it is killed may be there in part.

    The chief saves in a thread, beside training. A save that fails is an error in the
    log, training goes on, and it is tried again within a minute; only the last one, at
    the end, raises, when it was tried for some minutes.

    SIGTERM, where this is called in the main thread: a chief ends its step, saves and
    leaves, a worker ends its step, a parameter server asks the chief to save and leaves
    after that, or when `RunnerConfig.stop_grace_secs` are over; each with exit code
    143, but 0 where the job came to its end meanwhile. A second SIGTERM ends a process
    at once.

    Args:
      steps: global steps to go; default `p.train.steps`.
      max_steps: global step to stop at; default `p.train.max_steps`. With neither,
        until the data end. Several workers may go beyond it, and beyond `steps`, by as
        many steps as there are other workers, because each ends the step it is in.
      hooks: called around each step.

    Returns:
      This estimator.

    Raises:
      ValueError: `steps` or `max_steps` is not positive, or the model is not usable or
        does not fit the checkpoint (`MisfitError`).
      tf.errors.InvalidArgumentError: a batch is not usable, or a gradient not finite.
      StreamFailed: a Kafka dataset's messages cannot be read.
      TooManyBadMessages: too many of them cannot be parsed.
      RuntimeError: called again in a cluster with parameter servers, which leave when
        the job is over; another process trains in the same `model_dir`; or, on the
        chief, a worker has failed or is gone, and not come back.
      TimeoutError: another process of the job has been silent for too long.
      OSError: storage fails, as where `model_dir` cannot be written to.
      SystemExit: SIGTERM has come before the end.
    """
    if steps is None and max_steps is None:
      steps, max_steps = self._model.p.train.steps, self._model.p.train.max_steps
    _check_positive("steps", steps)
    _check_positive("max_steps", max_steps)
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
    with stop_request.on_sigterm() as stop:
      self._play_part(steps, max_steps, hooks or (), stop)
    return self

  def _play_part(
    self,
    steps: int | None,
    max_steps: int | None,
    hooks: Hooks,
    stop: stop_request.StopRequest,
  ) -> None:
    cluster = self._cluster
    target = _start_server(cluster) if cluster.is_distributed else ""
    if cluster.task_type == "ps":
      timeout_secs = self._config.worker_timeout_secs
      grace_secs = self._config.stop_grace_secs
      is_over = functools.partial(evaluator.is_over_or_ending, self.model_dir)
      serving.serve_until_released(
        cluster, target, timeout_secs, stop, grace_secs, is_over
      )
      return
    export = None
    if self._model.p.serving.export_when_saving:
      self._exported_parts()
      self._export_base()
      saved_model.check_exportable(self._model)
      export = functools.partial(self._export_saved, stop)
    loop = TrainLoop(
      self._model, self._config, cluster, target, self._warm_start_from, export, stop
    )
    loop.run(steps, max_steps, hooks)

  def evaluate(
    self, steps: int | None = None, hooks: Hooks | None = None
  ) -> dict[str, float]:
    """Evaluates the newest sound checkpoint in this process.

    Args:
      steps: batches to read; default `p.eval.steps`, None there is all of the data.
      hooks: called around each step.

    Returns:
      `loss`, `global_step`, `examples`, and for each head `HEAD/label_mean`,
      `HEAD/pred_mean`, and `HEAD/auc` or `HEAD/rmse` and `HEAD/mae`.

    Raises:
      ValueError: `steps` is not positive, there is no sound checkpoint, the newest does
        not fit the model (`MisfitError`), or the data have no examples.
    """
    _check_positive("steps", self._model.p.eval.steps if steps is None else steps)
    return self._evaluate(self._finder(None), steps, hooks)

  def _evaluate(
    self,
    find: Callable[[], list[str]],
    steps: int | None = None,
    hooks: Hooks | None = None,
  ) -> dict[str, float]:
    steps = self._model.p.eval.steps if steps is None else steps
    metrics = inference.evaluate(self._model, find, steps, hooks)
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
    """Evaluates a checkpoint, unless it cannot be read, is an earlier model's, or the
    chief removes it on the way."""
    try:
      self._evaluate(lambda: [path])
    except (DamagedCheckpointError, MisfitError, StorageError) as error:
      if checkpoint_lib.was_removed(path):
        logging.info("%s was removed before it was evaluated", path)
      else:
        logging.error("%s is not evaluated: %s", path, error)

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
      checkpoint_path: default the newest that is sound.
      yield_single_examples: one example at a time, or a batch.

    Yields:
      A dict of head name to NumPy array: `[...]` of an example, or `[batch, ...]`.

    Raises:
      ValueError: there is no checkpoint, it is damaged or does not fit the model
        (`MisfitError`), or there is no such head.
    """
    keys = [predict_keys] if isinstance(predict_keys, str) else predict_keys
    if keys is not None and not (
      isinstance(keys, Sequence) and keys and all(isinstance(key, str) for key in keys)
    ):
      raise ValueError(
        f"predict_keys: got {predict_keys!r}, wanted names of heads, or None for all"
      )
    find = self._finder(checkpoint_path)
    return inference.predict(self._model, find, keys, hooks, yield_single_examples)

  def export_saved_model(
    self, export_dir_base: str | None = None, checkpoint_path: str | None = None
  ) -> str:
    """Exports a checkpoint as a SavedModel, in this process.

    As many exports are kept in a folder as checkpoints,
    `RunnerConfig.checkpoints_max_to_keep`: older ones are removed.

    Args:
      export_dir_base: default `p.serving.export_dir_base` inside `model_dir`.
      checkpoint_path: default the newest that is sound.

    Returns:
      The new folder, `export_dir_base/SECONDS`, whose number is the largest there.

    Raises:
      ValueError: there is no checkpoint, it is damaged, or of another model; or
        `export_dir_base` has a character of patterns, such as `[`.
      OSError: it cannot be read, or the export's rows not be written.
      tf.errors.OpError: what else belongs to the export cannot be written.
      NotImplementedError: the model has no `serving_input_receiver_fn`.
    """
    find = self._finder(checkpoint_path)
    return self._export(find, self._export_base(export_dir_base))

  def _export(
    self,
    find: Callable[[], list[str]],
    folder: str,
    abandonment: Abandonment | None = None,
  ) -> str:
    path = saved_model.export(
      self._model, find, folder, self._exported_parts(), abandonment
    )
    export_folder.keep_newest(folder, self._config.checkpoints_max_to_keep)
    return path

  def _export_base(self, given: str | None = None) -> str:
    """The folder of exports."""
    folder = given or os.path.join(
      self.model_dir, self._model.p.serving.export_dir_base
    )
    check_is_no_pattern("export_dir_base", folder)
    return local_path.without_parents(os.fspath(folder))

  def _exported_parts(self) -> int | None:
    """How many servers the rows of an export are for; None is no server but one."""
    serving = self._model.p.serving
    if serving.export_mode not in ("standalone", "distributed"):
      raise ValueError(
        f"p.serving.export_mode: got {serving.export_mode!r}, wanted 'standalone' or "
        "'distributed'"
      )
    if serving.export_mode == "standalone":
      return None
    num_ps = serving.num_ps
    if num_ps is None:
      return len(self._cluster.ps_devices)
    _check_positive("p.serving.num_ps", num_ps)
    return num_ps

  def _export_saved(
    self,
    stop: stop_request.StopRequest,
    path: str,
    is_given_up: Callable[[], bool],
  ) -> None:
    """Exports a checkpoint that was saved, unless that was done, if there is time.

    Raises:
      Exception: see `saved_model.export`; `AllRefusedError` also where the checkpoint
        has gone since.
    """
    base = self._export_base()
    abandonment = Abandonment(lambda: stop.is_made() or is_given_up())
    try:
      if not exported_checkpoint.is_exported(path, base):
        self._export(lambda: [path], base, abandonment)
    except ExportAbandonedError:
      logging.warning("%s is saved, but not exported: this process leaves", path)

  def _finder(self, path: str | None) -> Callable[[], list[str]]:
    """`_required_checkpoints` for who may have to ask again; raises at once."""
    paths = self._required_checkpoints(path)
    if path is not None:
      return lambda: paths
    return functools.partial(self._required_checkpoints, None)

  def _required_checkpoints(self, path: str | None) -> list[str]:
    """The one at a path, or all there are, newest first."""
    if path is not None:
      path = os.fspath(path) if isinstance(path, os.PathLike) else path
      if not isinstance(path, str) or not checkpoint_lib.is_complete(path):
        raise ValueError(
          f"checkpoint_path: got {path!r}, which is no complete checkpoint; wanted a "
          "path without suffix, such as MODEL_DIR/model.ckpt-1000"
        )
      return [path]
    paths = checkpoint_lib.checkpoints(self.model_dir)[::-1]
    if not paths:
      raise ValueError(
        f"model_dir {self.model_dir!r} has no complete checkpoint; train first"
      )
    return paths


def _check_positive(name: str, value: int | None) -> None:
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
