"""Training in this process: as a worker, or as the only process of a job."""

import contextlib
import time
from collections.abc import Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training import (
  eviction,
  job_end,
  job_exports,
  job_saves,
  job_start,
)
from monolith.native_training.training.checkpoints import (
  checkpoint_leftovers,
  checkpointer,
)
from monolith.native_training.training.processes import coordination, heartbeat
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.placement import device_setter
from monolith.native_training.training.processes.server_question import SERVER_IS_AWAY
from monolith.native_training.training.processes.server_watch import ServerWatch
from monolith.native_training.training.processes.stop_request import StopRequest
from monolith.native_training.training.progress.progress import ProgressReporter
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.session import ReadySessionCreator
from monolith.native_training.training.training_graph import TrainingGraph

# What a lost session's save may take to notice that.
_SAVE_ENDS_SECS = 30.0
_LOST_AGAIN_SECS = 1.0


class TrainLoop:
  """Trains a model until its data end or enough steps are done.

  Args:
    target: where sessions run: the target of this worker's server, `''` without one.
    warm_start_from: folder or path of a checkpoint to take initial values from.
    export: of the chief, see `JobExports`: is called beside training, with the path of
      the checkpoint that it begins with, and of each that it has saved, but only of the
      newest that came while it ran.
    stop: when it is made this process leaves after the step it is in.
  """

  def __init__(
    self,
    model: MonolithModel,
    config: RunnerConfig,
    cluster: Cluster,
    target: str = "",
    warm_start_from: str | None = None,
    export: job_exports.Export | None = None,
    stop: StopRequest | None = None,
  ):
    self._model = model
    self._config = config
    self._cluster = cluster
    self._target = target
    self._warm_start_from = warm_start_from
    self._export = export
    self._stop = stop or StopRequest()
    self._watch: ServerWatch | None = None
    self._progress: ProgressReporter | None = None

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
      RuntimeError: on the chief, a worker has failed or is gone, and not come back;
        the job went on without it, and what was trained is saved. Or another chief has
        begun with the same folder.
      SystemExit: this process was asked to stop.
    """
    try:
      step = self._run(steps, max_steps, hooks)
    except Exception as error:
      if self._cluster.is_distributed and not self._cluster.is_chief:
        coordination.report_failure(self._cluster, self._target, error)
      raise
    if self._end.how_it_leaves:
      self._stop.leave(self._end.how_it_leaves)
    return step

  def _run(
    self,
    steps: int | None,
    max_steps: int | None,
    hooks: Sequence[tf.compat.v1.train.SessionRunHook],
  ) -> int:
    with tf.Graph().as_default(), contextlib.ExitStack() as stack:
      self._stack = stack
      if self._cluster.is_distributed:
        self._watch = stack.enter_context(
          ServerWatch(self._cluster, self._target, self._config.worker_timeout_secs)
        )
      with tf.compat.v1.device(device_setter(self._cluster)):
        self._build()
      self._creator = ReadySessionCreator(
        self._cluster,
        self._target,
        self._checkpointer,
        self._checkpoints_to_resume,
        self._start.warm_start,
        lambda session, beginning: self._start.begin(
          session, beginning, steps, max_steps
        ),
        self._graph.begin_data,
        self._watch,
        self._stop.leave_if_made,
        self._graph.timeline.begin,
      )
      stack.callback(self._graph.close)
      if self._is_saver:
        folder = self._config.model_dir
        job = self._cluster.fingerprint() if self._cluster.is_given else None
        beats = stack.enter_context(heartbeat.beating(folder, job))
        self._end.tell_by(beats)
        self._saves.guard_by(beats)
        checkpoint_leftovers.sweep(folder)
        if beats.was_ending:
          self._start.resume_end()
          if self._end.was_reached():
            with self._saves.beside_training():
              return self._end.take_up()
      session = tf.compat.v1.train.MonitoredSession(self._creator, hooks=list(hooks))
      stack.enter_context(session)
      return self._train(session)

  def _build(self) -> None:
    graph = self._graph = TrainingGraph(
      self._model, self._config, self._cluster, self._stop
    )
    exports = job_exports.JobExports(self._export)
    self._checkpointer = checkpointer.Checkpointer(
      graph.embedding,
      self._config.checkpoints_max_to_keep,
      max_increments=self._config.checkpoint_increments,
      in_use=exports.in_use,
    )
    self._eviction = eviction.Eviction(graph.embedding, self._config.evict_every_hours)
    self._reports = None
    if self._cluster.is_distributed:
      self._reports = coordination.JobReports(
        self._cluster, self._config.worker_timeout_secs, self._stop
      )
    self._saves = job_saves.JobSaves(
      self._config,
      self._model.p,
      self._checkpointer,
      self._eviction,
      exports,
      graph.streams,
      self._reports,
    )
    self._start = job_start.JobStart(
      self._config.model_dir,
      self._config.checkpoints_max_to_keep,
      self._warm_start_from,
      self._checkpointer,
      graph.positions,
      self._saves.policy,
      self._reports.training_went_back if self._reports else lambda: None,
      exports.offer,
      graph.streams,
    )
    self._end = job_end.JobEnd(
      self._config.model_dir,
      self._cluster,
      graph,
      self._saves,
      exports,
      self._reports,
      self._watch,
      self._stop,
    )

  def _checkpoints_to_resume(self) -> list[str]:
    # In a session that was lost: it fails, or its checkpoint is the newest.
    self._saves.wait(_SAVE_ENDS_SECS)
    return self._start.checkpoints()

  def _train(self, session) -> int:
    raw = session._tf_sess  # What hooks get as `SessionRunContext.session`.
    with self._saves.beside_training():
      while True:
        try:
          return self._train_to_end(session, raw)
        except SERVER_IS_AWAY as error:
          # While others were waited for, or the end was saved. In the steps before it
          # is the session that begins anew.
          logging.warning(
            "a parameter server was lost; training goes on when it is back (%s)",
            error.message,
          )
          time.sleep(_LOST_AGAIN_SECS)
          _begin_anew(session)

  def _train_to_end(self, session, raw) -> int:
    step, limit = (
      int(n) for n in raw().run([self._graph.global_step, self._start.limit])
    )
    if self._progress is None:
      self._progress = self._new_progress(raw, limit)
      self._stack.callback(self._progress.close)
    # Over before the job ends: nothing may run on servers that leave.
    with self._evicting_beside_training(raw):
      step, is_trained = self._train_steps(session, step, limit)
      self._graph.end_data(raw())
      is_done = is_trained and self._end.wait_for_others(
        raw(), self._progress, self._creator.check_servers, limit
      )
    if self._stop.is_made() and not is_done:
      return self._end.leave_early(raw(), self._progress)
    self._report_evicted(int(raw().run(self._graph.global_step)))
    return self._end.finish(raw(), self._progress)

  def _new_progress(self, raw, limit: int) -> ProgressReporter:
    def on_report(examples: int) -> None:
      if self._reports:
        self._reports.report(raw(), examples)
      if self._graph.streams:
        self._graph.streams.refresh(raw())

    max_steps = limit if limit < tf.int64.max else None
    return ProgressReporter(
      self._config,
      self._cluster,
      max_steps,
      lambda examples: job_end.unless_a_server_is_away(
        "report", lambda: on_report(examples)
      ),
      self._graph.stream_metrics,
    )

  def _train_steps(self, session, step: int, limit: int) -> tuple[int, bool]:
    """Trains to the end of the data, of the job, or until this process is asked to
    leave; returns the global step, and False in the last case."""
    progress, graph = self._progress, self._graph
    fetches = with_summary = graph.fetches
    if graph.summary is not None:
      with_summary = {**fetches, "summary": graph.summary}
    while step < limit and not session.should_stop():
      if self._stop.is_made():
        return step, False
      try:
        with core_errors.told_plainly():
          done = session.run(with_summary if progress.wants_summary() else fetches)
      except tf.errors.OutOfRangeError:  # The end of the data, or of a round of them.
        if graph.are_data_over(session._tf_sess()):
          break
        step = self._wait_for_messages(session._tf_sess(), step)
        continue
      step = int(done["step"])
      graph.step_done(session._tf_sess(), done)
      progress.step_done(
        step,
        float(done["loss"]),
        int(done["examples"]),
        done.get("summary"),
        graph.positions.current,
      )
      self._report_evicted(step)
      # The last step is saved at the end, once, when all workers are done.
      if self._is_saver and step < limit:
        self._saves.step_done(session._tf_sess(), step, progress)
    graph.close()
    return step, True

  def _wait_for_messages(self, session, step: int) -> int:
    """Has the streams read on after a round without a batch, and does meanwhile what
    else a step does; returns the global step, which others may have moved."""
    self._progress.idle(step)
    if self._is_saver:
      self._saves.step_done(session, step, self._progress)
    self._graph.read_on(session)
    return int(session.run(self._graph.global_step))

  @property
  def _is_saver(self) -> bool:
    return self._cluster.is_chief and bool(self._config.model_dir)

  def _evicting_beside_training(self, session) -> contextlib.AbstractContextManager:
    if self._cluster.is_chief:
      return self._eviction.beside_training(session)
    return contextlib.nullcontext()

  def _report_evicted(self, step: int) -> None:
    """Reports what was evicted beside training."""
    for rows in self._eviction.take_done():
      self._progress.evicted(step, rows)


def _begin_anew(session) -> None:
  """Lets a session be made anew: its servers may have been restarted, and the data have
  to go on where the model is."""
  lost = [tf.errors.AbortedError(None, None, "a parameter server was lost")]

  def step(step_context) -> None:
    del step_context
    if lost:
      raise lost.pop()

  session.run_step_fn(step)
