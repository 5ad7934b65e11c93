"""Training in this process: as a worker, or as the only process of a job."""

import contextlib
import time
from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import logging

from monolith.core.hyperparams import Params
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training import (
  checkpoint,
  checkpointer,
  coordination,
  eviction,
  heartbeat,
  model_graph,
  progress_log,
  train_step,
)
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.placement import device_setter
from monolith.native_training.training.progress import ProgressReporter
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.server_watch import ServerWatch
from monolith.native_training.training.session import ReadySessionCreator

_DEFAULT_SAVE_SECS = 600.0


class _SavePolicy:
  """When the chief saves: as the config says, else as the model's parameters do."""

  def __init__(self, config: RunnerConfig, params: Params):
    self._steps = config.save_checkpoints_steps
    self._secs = config.save_checkpoints_secs
    if self._steps is None and self._secs is None:
      self._steps = params.train.save_checkpoints_steps
      self._secs = params.train.save_checkpoints_secs
    if self._steps is None and self._secs is None:
      self._secs = _DEFAULT_SAVE_SECS
    self.last_step: int | None = None
    self.begin(0)

  def begin(self, step: int) -> None:
    """Counts from here."""
    self._since_step = step
    self._since_time = time.monotonic()

  def saved(self, step: int) -> None:
    self.last_step = step
    self.begin(step)

  def is_due(self, step: int) -> bool:
    by_steps = self._steps is not None and step - self._since_step >= self._steps
    return by_steps or (
      self._secs is not None and time.monotonic() - self._since_time >= self._secs
    )


class TrainLoop:
  """Trains a model until its data end or enough steps are done.

  Args:
    target: where sessions run: the target of this worker's server, `''` without one.
    warm_start_from: folder or path of a checkpoint to take initial values from.
    on_save: called by the chief with the path of each checkpoint it has saved.
  """

  def __init__(
    self,
    model: MonolithModel,
    config: RunnerConfig,
    cluster: Cluster,
    target: str = "",
    warm_start_from: str | None = None,
    on_save: Callable[[str], object] | None = None,
  ):
    self._model = model
    self._config = config
    self._cluster = cluster
    self._target = target
    self._warm_start_from = warm_start_from
    self._on_save = on_save
    self._watch: ServerWatch | None = None
    self._job_limit: int | None = None  # Where the job stops, once that is known.

  def run(
    self,
    steps: int | None = None,
    max_steps: int | None = None,
    hooks: Sequence[tf.compat.v1.train.SessionRunHook] = (),
  ) -> int:
    """Trains.

    Args:
      steps: global steps to go from where training begins.
      max_steps: global step to stop at. With neither, until the data end.
      hooks: called around each step.

    Returns:
      The global step reached.

    Raises:
      RuntimeError: on the chief, a worker has failed; the job went on without it, and
        what was trained is saved.
    """
    try:
      return self._run(steps, max_steps, hooks)
    except Exception as error:
      if self._cluster.is_distributed and not self._cluster.is_chief:
        coordination.report_failure(self._cluster, self._target, error)
      raise

  def _run(
    self,
    steps: int | None,
    max_steps: int | None,
    hooks: Sequence[tf.compat.v1.train.SessionRunHook],
  ) -> int:
    with tf.Graph().as_default(), contextlib.ExitStack() as stack:
      if self._cluster.is_distributed:
        self._watch = stack.enter_context(
          ServerWatch(self._cluster, self._target, self._config.worker_timeout_secs)
        )
      with tf.compat.v1.device(device_setter(self._cluster)):
        self._build()
      creator = ReadySessionCreator(
        self._cluster,
        self._target,
        self._checkpointer,
        self._checkpoint_to_resume,
        self._warm_start if self._warm_start_from else None,
        lambda session, step: self._set_limit(session, step, steps, max_steps),
        self._watch,
      )
      if self._saves and self._cluster.is_given:
        stack.enter_context(heartbeat.beating(self._config.model_dir))
      session = tf.compat.v1.train.MonitoredSession(creator, hooks=list(hooks))
      stack.enter_context(session)
      return self._train(session)

  def _build(self) -> None:
    self._global_step = tf.compat.v1.train.get_or_create_global_step()
    mode = tf.estimator.ModeKeys.TRAIN
    features = model_graph.read_batch(self._model, mode, self._cluster)
    graph = model_graph.build(
      self._model,
      features,
      mode,
      self._cluster.ps_devices,
      self._config.model_name,
      self._config.admission_capacity,
    )
    self._train_op, self._step = train_step.train_op(self._model, graph)
    self._loss = graph.spec.loss
    self._batch_size = graph.batch_size()
    self._summary = tf.compat.v1.summary.merge_all()
    self._checkpointer = checkpointer.Checkpointer(
      graph.embedding,
      self._config.checkpoints_max_to_keep,
      max_increments=self._config.checkpoint_increments,
    )
    self._eviction = eviction.Eviction(graph.embedding, self._config.evict_every_hours)
    # Where all workers stop. No global variable: it is the job's, not the model's.
    with tf.device(self._global_step.device):
      self._limit_value = tf.compat.v1.placeholder(tf.int64, [])
      self._limit = tf.compat.v1.Variable(
        self._limit_value, trainable=False, collections=[], use_resource=True
      )
    self._limit_is_set = self._limit.is_initialized()
    self._reports = None
    if self._cluster.is_distributed:
      self._reports = coordination.JobReports(
        self._cluster, self._config.worker_timeout_secs
      )

  def _checkpoint_to_resume(self) -> str | None:
    path = checkpoint.latest_checkpoint(self._config.model_dir)
    if path:
      checkpoint.mark(path, final=False)
    return path

  def _warm_start(self, session: tf.compat.v1.Session) -> None:
    source = self._warm_start_from
    path = checkpoint.latest_checkpoint(source) if tf.io.gfile.isdir(source) else source
    if path is None or not checkpoint.is_complete(path):
      raise ValueError(f"warm_start_from: found no complete checkpoint in {source}")
    self._checkpointer.warm_start(session, path)

  def _set_limit(
    self,
    session: tf.compat.v1.Session,
    begin: int,
    steps: int | None,
    max_steps: int | None,
  ) -> None:
    """Sets the global step at which all workers stop, unless an earlier chief has.

    It stays what it was first, also when a server has lost it and training goes on from
    an earlier step.
    """
    if session.run(self._limit_is_set):
      self._job_limit = int(session.run(self._limit))
      return
    if self._job_limit is None:
      limits = [max_steps, begin + steps if steps else None]
      self._job_limit = min((n for n in limits if n is not None), default=tf.int64.max)
    session.run(self._limit.initializer, {self._limit_value: self._job_limit})

  def _train(self, session) -> int:
    raw = session._tf_sess  # What hooks get as `SessionRunContext.session`.
    step, limit = (int(n) for n in raw().run([self._global_step, self._limit]))
    max_steps = limit if limit < tf.int64.max else None
    on_report = None
    if self._reports:
      on_report = lambda examples: _unless_a_server_is_away(  # noqa: E731
        "report", lambda: self._reports.report(raw(), examples)
      )
    progress = ProgressReporter(self._config, self._cluster, max_steps, on_report)
    policy = _SavePolicy(self._config, self._model.p)
    latest = checkpoint.latest_checkpoint(self._config.model_dir)
    if latest and checkpoint.step_of(latest) == step:
      policy.saved(step)
    else:
      policy.begin(step)
    fetches = {
      "train": self._train_op,
      "step": self._step,
      "loss": self._loss,
      "examples": self._batch_size,
    }
    with_summary = fetches
    if self._summary is not None:
      with_summary = {**fetches, "summary": self._summary}
    # Over before the job ends: nothing may run on servers that leave.
    with self._evicting_beside_training(raw):
      while step < limit and not session.should_stop():
        try:
          with core_errors.told_plainly():
            done = session.run(with_summary if progress.wants_summary() else fetches)
        except tf.errors.OutOfRangeError:  # The end of the data.
          if not progress.examples:
            self._warn_of_no_data()
          break
        step = int(done["step"])
        progress.step_done(
          step, float(done["loss"]), int(done["examples"]), done.get("summary")
        )
        self._report_evicted(step, progress)
        # The last step is saved at the end, once, when all workers are done.
        if self._saves and policy.is_due(step) and step < limit:
          saved = _unless_a_server_is_away(
            "checkpoint", lambda step=step: self._save(raw(), step, progress)
          )
          if saved:
            policy.saved(step)
      self._wait_for_others(raw(), progress)
    return self._finish(raw(), progress, policy)

  def _warn_of_no_data(self) -> None:
    logging.warning(
      "this worker, %d of %d, got no batch and trained on nothing; its shard of the "
      "data may be empty, or smaller than a batch that is dropped by drop_remainder",
      self._cluster.worker_index,
      self._cluster.num_workers,
    )

  @property
  def _saves(self) -> bool:
    return self._cluster.is_chief and bool(self._config.model_dir)

  def _save(
    self, session, step: int, progress: ProgressReporter, final: bool = False
  ) -> None:
    progress.saving()
    begin = time.monotonic()
    self._report_evicted(step, progress)
    progress.evicted(step, self._eviction.run(session))
    path = self._checkpointer.save(session, self._config.model_dir, step, final)
    progress_log.info("saved %s in %.1f s", path, time.monotonic() - begin)
    progress.tables(step, self._checkpointer.table_stats(session))
    if self._on_save:
      self._on_save(path)

  def _evicting_beside_training(self, session) -> contextlib.AbstractContextManager:
    if self._cluster.is_chief:
      return self._eviction.beside_training(session)
    return contextlib.nullcontext()

  def _report_evicted(self, step: int, progress: ProgressReporter) -> None:
    """Reports what was evicted beside training."""
    for rows in self._eviction.take_done():
      progress.evicted(step, rows)

  def _wait_for_others(self, session, progress: ProgressReporter) -> None:
    """Tells that this worker has trained; the chief waits until all have."""
    if self._reports:
      self._reports.report(session, progress.examples, done=True)
      if self._cluster.is_chief:
        self._reports.wait_for_workers(session)

  def _finish(self, session, progress: ProgressReporter, policy: _SavePolicy) -> int:
    """Ends this worker's part; the chief ends the job."""
    step = int(session.run(self._global_step))
    self._report_evicted(step, progress)
    if self._saves:
      if step == policy.last_step and self._is_all_saved(session):
        path = checkpoint.latest_checkpoint(self._config.model_dir)
        checkpoint.mark(path, final=True)
      else:
        self._save(session, step, progress, final=True)
    progress.finished(step)
    if self._reports:
      self._end_job(session)
    return step

  def _is_all_saved(self, session) -> bool:
    """Whether a checkpoint of this very step holds all that was trained: in a cluster
    parts of others' updates may have come after it."""
    if self._reports:
      return self._reports.job_examples(session) == 0
    return True

  def _end_job(self, session) -> None:
    """The chief lets everybody leave; others wait for its last checkpoint."""
    if self._cluster.is_chief:
      self._reports.end_job(session)
      self._watch.stop()
      self._reports.release_servers(session)
      failures = self._reports.failures()
      if failures:
        raise RuntimeError(
          f"{'; '.join(failures)}. The job went on without it to its end, which is "
          f"saved in {self._config.model_dir}"
        )
    elif self._reports.wait_for_chief(session):
      self._watch.stop()
      self._reports.say_goodbye(session)
    else:
      path = checkpoint.latest_checkpoint(self._config.model_dir)
      if not path or not checkpoint.is_final(path):
        raise RuntimeError(
          "the parameter servers left before the chief had saved the end of the job; "
          f"the last checkpoint in {self._config.model_dir} is {path or 'none'}"
        )


def _unless_a_server_is_away(what: str, do: Callable[[], object]) -> bool:
  """Does something beside a step. Where a server cannot be reached it says so, and the
  next step waits for the server.

  Returns:
    Whether it was done.
  """
  try:
    do()
  except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
    logging.warning("no %s: a parameter server is away (%s)", what, error.message)
    return False
  return True
