"""Training in this process: as a worker, or as the only process of a job."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.runtime.ops import core_errors
from monolith.native_training.training import (
  checkpoint,
  checkpoint_leftovers,
  checkpointer,
  coordination,
  evaluator,
  eviction,
  heartbeat,
  job_saves,
  job_start,
  model_graph,
  progress_log,
  train_step,
)
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.data_positions import DataPositions
from monolith.native_training.training.placement import device_setter
from monolith.native_training.training.progress import ProgressReporter
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.server_watch import ServerWatch
from monolith.native_training.training.session import ReadySessionCreator
from monolith.native_training.training.stop_request import StopRequest
from monolith.native_training.training.stream_metrics import StreamMetrics
from monolith.native_training.training.stream_positions import StreamPositions
from monolith.native_training.training.timeline import Timeline

_SERVER_IS_AWAY = (tf.errors.AbortedError, tf.errors.UnavailableError)
# What a lost session's save may take to notice that.
_SAVE_ENDS_SECS = 30.0
_LOST_AGAIN_SECS = 1.0


class _JobIsOver(Exception):
  """The chief has ended the job."""


class TrainLoop:
  """Trains a model until its data end or enough steps are done.

  Args:
    target: where sessions run: the target of this worker's server, `''` without one.
    warm_start_from: folder or path of a checkpoint to take initial values from.
    on_save: called by the chief with the path of each checkpoint it has saved, perhaps
      in another thread.
    stop: when it is made this process leaves after the step it is in.
  """

  def __init__(
    self,
    model: MonolithModel,
    config: RunnerConfig,
    cluster: Cluster,
    target: str = "",
    warm_start_from: str | None = None,
    on_save: Callable[[str], object] | None = None,
    stop: StopRequest | None = None,
  ):
    self._model = model
    self._config = config
    self._cluster = cluster
    self._target = target
    self._warm_start_from = warm_start_from
    self._on_save = on_save
    self._stop = stop or StopRequest()
    self._watch: ServerWatch | None = None
    self._progress: ProgressReporter | None = None
    self._how_it_leaves = ""  # Where it was asked to.

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
      SystemExit: this process was asked to stop.
    """
    try:
      step = self._run(steps, max_steps, hooks)
    except Exception as error:
      if self._cluster.is_distributed and not self._cluster.is_chief:
        coordination.report_failure(self._cluster, self._target, error)
      raise
    if self._how_it_leaves:
      self._stop.leave(self._how_it_leaves)
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
        self._begin_data,
        self._watch,
        self._stop.leave_if_made,
      )
      if self._streams:
        stack.callback(self._streams.close)
      if self._is_saver:
        folder = self._config.model_dir
        if self._cluster.is_given:
          stack.enter_context(heartbeat.beating(folder, self._cluster.fingerprint()))
        checkpoint_leftovers.sweep(folder)
      session = tf.compat.v1.train.MonitoredSession(self._creator, hooks=list(hooks))
      stack.enter_context(session)
      return self._train(session)

  def _build(self) -> None:
    self._global_step = tf.compat.v1.train.get_or_create_global_step()
    mode = tf.estimator.ModeKeys.TRAIN
    self._timeline = Timeline(self._cluster)
    self._positions = DataPositions(self._cluster, self._timeline)
    self._input = model_graph.read_batch(
      self._model, mode, self._cluster, self._positions.skip
    )
    self._streams = self._stream_metrics = None
    if self._input.streams:
      self._stream_metrics = StreamMetrics(self._input.streams)
      self._streams = StreamPositions(
        self._cluster,
        self._timeline,
        self._input.streams,
        self._stop.leave_if_made,
      )
    graph = model_graph.build(
      self._model,
      self._input.features,
      mode,
      self._cluster.ps_devices,
      self._config.model_name,
      self._config.admission_capacity,
    )
    self._train_op, self._step = train_step.train_op(
      self._model, graph, self._count_batch
    )
    self._loss = graph.spec.loss
    self._batch_size = graph.batch_size()
    self._summary = tf.compat.v1.summary.merge_all()
    self._checkpointer = checkpointer.Checkpointer(
      graph.embedding,
      self._config.checkpoints_max_to_keep,
      max_increments=self._config.checkpoint_increments,
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
      self._on_save,
      self._streams,
      self._reports,
    )
    self._start = job_start.JobStart(
      self._config.model_dir,
      self._config.checkpoints_max_to_keep,
      self._warm_start_from,
      self._checkpointer,
      self._timeline,
      self._positions,
      self._saves.policy,
      self._reports.training_went_back if self._reports else lambda: None,
      self._streams,
    )

  def _count_batch(self) -> list[tf.Operation]:
    """Ops that note the batch as trained on, where the model was not restored since."""
    return [self._positions.count_batch(self._timeline.is_present())]

  def _begin_data(self, session) -> dict[tf.Tensor, Any]:
    """Has the data begin where training is; what to feed for that."""
    self._timeline.join(session)
    feed = self._positions.begin(session)
    if self._streams:
      self._streams.begin(session)
    elif self._positions.current:
      progress_log.info(
        "the data go on behind batch %s, which is where training was",
        f"{self._positions.current:,}",
      )
    return feed

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
        except _SERVER_IS_AWAY as error:
          # While others were waited for, or the end was saved. In the steps before it
          # is the session that begins anew.
          logging.warning(
            "a parameter server was lost; training goes on when it is back (%s)",
            error.message,
          )
          time.sleep(_LOST_AGAIN_SECS)
          _begin_anew(session)

  def _train_to_end(self, session, raw) -> int:
    step, limit = (int(n) for n in raw().run([self._global_step, self._start.limit]))
    if self._progress is None:
      self._progress = self._new_progress(raw, limit)
      self._stack.callback(self._progress.close)
    # Over before the job ends: nothing may run on servers that leave.
    with self._evicting_beside_training(raw):
      step = self._train_steps(session, step, limit)
      if self._streams:
        self._streams.write(raw())
      is_done = self._wait_for_others(raw())
    if self._stop.is_made() and not is_done:
      return self._leave_early(raw())
    return self._finish(raw())

  def _new_progress(self, raw, limit: int) -> ProgressReporter:
    def on_report(examples: int) -> None:
      if self._reports:
        self._reports.report(raw(), examples)
      if self._streams:
        self._streams.refresh(raw())

    max_steps = limit if limit < tf.int64.max else None
    return ProgressReporter(
      self._config,
      self._cluster,
      max_steps,
      lambda examples: _unless_a_server_is_away("report", lambda: on_report(examples)),
      self._stream_metrics,
    )

  def _train_steps(self, session, step: int, limit: int) -> int:
    """Trains to the end of the data, of the job, or until this process is asked to
    leave; returns the global step."""
    progress = self._progress
    fetches = {
      "train": self._train_op,
      "step": self._step,
      "loss": self._loss,
      "examples": self._batch_size,
    }
    if self._streams:
      fetches["positions"] = self._input.marks.positions
      if self._input.marks.event_time_ms is not None:
        fetches["event_time_ms"] = self._input.marks.event_time_ms
    with_summary = fetches
    if self._summary is not None:
      with_summary = {**fetches, "summary": self._summary}
    self._is_at_end = False
    while step < limit and not session.should_stop():
      if self._stop.is_made():
        return step
      try:
        with core_errors.told_plainly():
          done = session.run(with_summary if progress.wants_summary() else fetches)
      except tf.errors.OutOfRangeError:  # The end of the data, or of a round of them.
        if self._streams and not self._ends_streams(session._tf_sess()):
          step = self._wait_for_messages(session._tf_sess(), step)
          continue
        if not self._positions.current and not self._streams:
          self._warn_of_no_data()
        break
      step = int(done["step"])
      self._positions.step_done()
      if self._streams:
        self._streams.step_done(session._tf_sess(), done["positions"])
        self._stream_metrics.step_done(done.get("event_time_ms"))
      progress.step_done(
        step,
        float(done["loss"]),
        int(done["examples"]),
        done.get("summary"),
        self._positions.current,
      )
      self._report_evicted(step)
      # The last step is saved at the end, once, when all workers are done.
      if self._is_saver and step < limit:
        self._saves.step_done(session._tf_sess(), step, progress)
    self._is_at_end = True
    if self._streams:
      self._streams.close()  # Others of the group need not wait for this worker.
    return step

  def _ends_streams(self, session) -> bool:
    """Notes what is read of the streams; whether they are over."""
    self._streams.write(session)
    self._streams.refresh(session)
    return self._streams.is_over

  def _wait_for_messages(self, session, step: int) -> int:
    """Has the streams read on after a round without a batch, and does meanwhile what
    else a step does; returns the global step, which others may have moved."""
    self._progress.idle(step)
    if self._is_saver:
      self._saves.step_done(session, step, self._progress)
    self._streams.begin_round()
    session.run(self._input.initializer)
    return int(session.run(self._global_step))

  def _warn_of_no_data(self) -> None:
    logging.warning(
      "this worker, %d of %d, got no batch and trained on nothing; its shard of the "
      "data may be empty, or smaller than a batch that is dropped by drop_remainder",
      self._cluster.worker_index,
      self._cluster.num_workers,
    )

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

  def _wait_for_others(self, session) -> bool:
    """Tells that this worker has trained; the chief waits until all have.

    Returns:
      False where this process was asked to leave before that.
    """
    if not self._is_at_end:
      return False
    if self._reports:
      self._reports.report(session, self._progress.examples, done=True)
      # Where an earlier chief has ended the job the others have left.
      if self._cluster.is_chief and not self._reports.is_saved(session):
        return self._reports.wait_for_workers(
          session, lambda: self._look_after_others(session)
        )
    return True

  def _look_after_others(self, session) -> None:
    """What the chief does while only others train."""
    self._creator.check_servers(session)
    if self._is_saver:
      step = int(session.run(self._global_step))
      self._saves.step_done(session, step, self._progress)

  def _leave_early(self, session) -> int:
    """Ends this worker's part because it was asked to leave; a chief saves before."""
    self._how_it_leaves = "this worker leaves; the job goes on without it"
    step = int(session.run(self._global_step))
    if self._is_saver:
      saved = _unless_a_server_is_away(
        "checkpoint",
        lambda: self._saves.save_now(session, step, self._progress),
      )
      self._commit_last()
      self._how_it_leaves = f"{'' if saved else 'not '}saved at step {step}; leaving"
    self._progress.stopped(step)
    if self._reports and self._cluster.is_chief:
      self._watch.stop()
      self._reports.say_leaving(session)
    return step

  def _finish(self, session) -> int:
    """Ends this worker's part; the chief ends the job."""
    step = int(session.run(self._global_step))
    self._report_evicted(step)
    if self._is_saver:
      self._saves.wait()
      self._saves.report(session, self._progress)
      is_saved = step == self._saves.policy.last_step and self._is_all_saved(session)
      if not is_saved:
        self._saves.save_now(session, step, self._progress)
      self._commit_last()
    self._progress.finished(step)
    if self._reports:
      self._end_job(session)
    if self._is_saver:
      # The last that the chief does: who begins with what is marked so begins the data
      # anew, and before this somebody who is killed would do so.
      path = checkpoint.latest_checkpoint(self._config.model_dir)
      checkpoint.mark(path, final=True)
    return step

  def _is_all_saved(self, session) -> bool:
    """Whether a checkpoint of this very step holds all that was trained: in a cluster
    parts of others' updates may have come after it."""
    if self._streams and not self._streams.is_saved(session):
      return False
    if self._reports:
      return self._reports.job_examples(session) == 0
    return True

  def _commit_last(self) -> None:
    if self._streams:
      self._streams.commit_last()

  def _end_job(self, session) -> None:
    """The chief lets everybody leave; others wait for its last checkpoint."""
    if self._cluster.is_chief:
      _unless_a_server_is_away(
        "word of the end to all", lambda: self._reports.end_job(session)
      )
      self._watch.stop()
      self._reports.release_servers(session)
      session.abandon()
      failures = self._reports.failures()
      if failures:
        raise RuntimeError(
          f"{'; '.join(failures)}. The job went on without it to its end, which is "
          f"saved in {self._config.model_dir}"
        )
    elif self._reports.wait_for_chief(
      session,
      self._progress.examples,
      lambda: self._positions.read(session) == self._positions.current,
    ):
      self._watch.stop()
      self._reports.say_goodbye(session)
      session.abandon()
    elif self._stop.is_made():
      self._how_it_leaves = "this worker has trained its part and leaves"
    else:
      self._wait_for_end_or_servers()

  def _wait_for_end_or_servers(self) -> None:
    """After a server was lost to a worker that is done: comes back when the chief has
    ended the job, which is when servers leave.

    Raises:
      tf.errors.AbortedError: the servers are back, so they have not left.
    """
    folder = self._config.model_dir

    def check() -> None:
      self._stop.leave_if_made()
      if evaluator.is_over(folder):
        raise _JobIsOver

    with contextlib.suppress(_JobIsOver):
      self._watch.wait_for_servers(check)
      raise tf.errors.AbortedError(None, None, "before the end of the job was saved")


def _begin_anew(session) -> None:
  """Lets a session be made anew: its servers may have been restarted, and the data have
  to go on where the model is."""
  lost = [tf.errors.AbortedError(None, None, "a parameter server was lost")]

  def step(step_context) -> None:
    del step_context
    if lost:
      raise lost.pop()

  session.run_step_fn(step)


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
