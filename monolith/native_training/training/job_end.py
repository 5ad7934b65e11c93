"""How a process comes to the end of its part of a job."""

import time
from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.training import evaluator
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.job_exports import JobExports
from monolith.native_training.training.job_saves import JobSaves
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.coordination import JobReports
from monolith.native_training.training.processes.heartbeat import Heartbeat
from monolith.native_training.training.processes.server_question import SERVER_IS_AWAY
from monolith.native_training.training.processes.server_watch import ServerWatch
from monolith.native_training.training.processes.stop_request import StopRequest
from monolith.native_training.training.progress.progress import ProgressReporter
from monolith.native_training.training.training_graph import TrainingGraph

_SERVERS_COME_SECS = 30.0


class JobEnd:
  """Ends a worker's part when it has trained, or was asked to leave.

  Args:
    model_dir: folder of the job's checkpoints.
    graph: what was trained.
    saves: the chief's, and so are
    exports: of its checkpoints.
    reports: to and from the others; None where there are none, and then so is
    watch: over the servers.
    stop: asks this process to leave.

  Attributes:
    how_it_leaves: what the log says of that, where it was asked to.
  """

  def __init__(
    self,
    model_dir: str,
    cluster: Cluster,
    graph: TrainingGraph,
    saves: JobSaves,
    exports: JobExports,
    reports: JobReports | None,
    watch: ServerWatch | None,
    stop: StopRequest,
  ):
    self._model_dir = model_dir
    self._is_chief = cluster.is_chief
    self._is_saver = cluster.is_chief and bool(model_dir)
    self._graph = graph
    self._saves = saves
    self._exports = exports
    self._reports = reports
    self._watch = watch
    self._stop = stop
    self._heartbeat: Heartbeat | None = None
    self.how_it_leaves = ""

  def tell_by(self, heartbeat: Heartbeat) -> None:
    """Names where the chief notes that it ends the job, for one that comes after it."""
    self._heartbeat = heartbeat

  def was_reached(self) -> bool:
    """Whether the servers, which an earlier chief had let leave at the end of the job,
    do not come back, as they do where the whole job was started again."""
    if not self._watch:
      return False
    # Before the watch gives them up, with an error.
    patience = min(_SERVERS_COME_SECS, self._watch.timeout_secs / 2)
    give_up = time.monotonic() + patience
    if self._watch.servers_come(
      lambda: time.monotonic() > give_up, self._stop.leave_if_made
    ):
      self._heartbeat.job_goes_on()
      return False
    return True

  def take_up(self) -> int:
    """Does what is left of the end of an earlier chief's job; returns its step.

    Raises:
      RuntimeError: it had ended without a worker that has failed.
      Exception: why the last checkpoint is not exported.
    """
    self._watch.stop()  # They have left for good, and an export may take long.
    self._exports.offer(checkpoint.latest_checkpoint(self._model_dir))
    self._finish_exports(self._heartbeat.failures)
    return self._mark()

  def _raise_failures(self, failures: Sequence[str]) -> None:
    if failures:
      raise RuntimeError(
        f"{'; '.join(failures)}. The job went on without it to its end, which is saved "
        f"in {self._model_dir}, and its parameter servers have left. Started again, "
        "all of its processes, it trains on what that worker has left"
      )

  def _mark(self) -> int:
    """Marks the last checkpoint as the end of the job; returns its step.

    Raises:
      StorageError: that cannot be written, which whoever is started next does.
    """
    self._heartbeat.look()  # Another chief's checkpoints are its matter.
    path = checkpoint.latest_checkpoint(self._model_dir)
    checkpoint.mark(
      path,
      final=True,
      advice="All is trained and saved; a chief that is started again marks it",
    )
    return checkpoint.step_of(path)

  def wait_for_others(
    self,
    session: tf.compat.v1.Session,
    progress: ProgressReporter,
    check_servers: Callable[[tf.compat.v1.Session], None],
    limit: int,
  ) -> bool:
    """Tells that this worker has trained; the chief waits until all have.

    Args:
      check_servers: raises where a server has lost the model.
      limit: global step at which the job ends, however much data there are.

    Returns:
      False where this process was asked to leave before that.
    """
    if not self._reports:
      return True
    self._reports.report(session, progress.examples, done=True)

    def look_after_others() -> None:
      check_servers(session)
      if self._is_saver:
        step = int(session.run(self._graph.global_step))
        self._saves.step_done(session, step, progress)

    def is_work_left() -> bool:
      """Whether a worker that is gone leaves data: messages go to others."""
      step = int(session.run(self._graph.global_step))
      return not self._graph.streams and step < limit

    # Where an earlier chief has ended the job the others have left.
    if self._is_chief and not self._reports.is_saved(session):
      return self._reports.wait_for_workers(session, look_after_others, is_work_left)
    return True

  def leave_early(
    self, session: tf.compat.v1.Session, progress: ProgressReporter
  ) -> int:
    """Ends this worker's part because it was asked to leave; a chief saves before.
    Returns the global step."""
    self.how_it_leaves = "this worker leaves; the job goes on without it"
    step = int(session.run(self._graph.global_step))
    try:
      if self._is_saver:
        saved = unless_a_server_is_away(
          "checkpoint", lambda: self._saves.save_now(session, step, progress)
        )
        self._commit_last()
        self.how_it_leaves = f"{'' if saved else 'not '}saved at step {step}; leaving"
    finally:
      progress.stopped(step)
      self._say_leaving(session)
    return step

  def _say_leaving(self, session: tf.compat.v1.Session) -> None:
    """Tells the servers that this chief leaves before the job is over."""
    if self._reports and self._is_chief:
      self._watch.stop()
      self._reports.say_leaving(session)

  def finish(self, session: tf.compat.v1.Session, progress: ProgressReporter) -> int:
    """Ends this worker's part; the chief ends the job. Returns the global step."""
    step = int(session.run(self._graph.global_step))
    if self._is_saver:
      try:
        is_saved = self._save_last(session, step, progress)
      except BaseException:
        if self._stop.is_made():
          self._say_leaving(session)
        raise
      if not is_saved:
        return self.leave_early(session, progress)
      self._commit_last()
    progress.finished(step)
    if self._reports:
      self._end_job(session, progress)
    # When all have been let go. Where it fails, this chief that is started again tries
    # it again.
    self._finish_exports(
      self._reports.failures() if self._reports and self._is_chief else ()
    )
    if self._is_saver:
      # The last that the chief does: who begins with what is marked so begins the data
      # anew, and before this somebody who is killed would do so.
      self._mark()
    return step

  def _save_last(
    self, session: tf.compat.v1.Session, step: int, progress: ProgressReporter
  ) -> bool:
    """Saves all that was trained, if it is not yet; False where it was time to leave
    before."""
    self._saves.wait_for_end(self._stop.is_made)
    self._saves.report_save(session, progress)
    if step == self._saves.policy.last_step and self._is_all_saved(session):
      return True
    return self._saves.save_last(session, step, progress, self._stop.is_made)

  def _finish_exports(self, failures: Sequence[str]) -> None:
    """Waits for the exports of what is saved. Raises why the last is not exported, or
    that the job has ended without a worker."""
    try:
      if self._is_saver and self._exports.is_on:
        self._exports.finish(self._is_to_leave)
        self._saves.remove_older()
    finally:
      self._raise_failures(failures)

  def _is_to_leave(self) -> bool:
    """Whether this chief was asked to leave. Raises where another has begun."""
    self._heartbeat.check()
    return self._stop.is_made()

  def _is_all_saved(self, session: tf.compat.v1.Session) -> bool:
    """Whether a checkpoint of this very step holds all that was trained: in a cluster
    parts of others' updates may have come after it."""
    if self._graph.streams and not self._graph.streams.is_saved(session):
      return False
    if self._reports:
      return self._reports.job_examples(session) == 0
    return True

  def _commit_last(self) -> None:
    if self._graph.streams:
      self._graph.streams.commit_last(self._stop.is_made())

  def _end_job(self, session: tf.compat.v1.Session, progress: ProgressReporter) -> None:
    """The chief lets everybody leave; others wait for its last checkpoint."""
    positions = self._graph.positions
    if self._is_chief:
      self._tell_that_job_ends()
      unless_a_server_is_away(
        "word of the end to all", lambda: self._reports.end_job(session)
      )
      self._tell_that_job_ends()  # A worker may have failed of that.
      self._watch.stop()
      self._reports.release_servers(session)
      session.abandon()
    elif self._reports.wait_for_chief(
      session,
      progress.examples,
      lambda: positions.read(session) == positions.current,
    ):
      self._watch.stop()
      self._reports.say_goodbye(session)
      session.abandon()
    elif self._stop.is_made():
      self.how_it_leaves = "this worker has trained its part and leaves"
    # Servers leave when the chief has ended the job. Those that come back have not.
    elif self._watch.servers_come(
      lambda: evaluator.is_over_or_ending(self._model_dir),
      self._stop.leave_if_made,
    ):
      raise tf.errors.AbortedError(None, None, "before the end of the job was saved")

  def _tell_that_job_ends(self) -> None:
    if self._heartbeat:
      self._heartbeat.job_ends(self._reports.failures())


def unless_a_server_is_away(what: str, do: Callable[[], object]) -> bool:
  """Does something beside a step. Where a server cannot be reached it says so, and the
  next step waits for the server.

  Returns:
    Whether it was done.
  """
  try:
    do()
  except SERVER_IS_AWAY as error:
    logging.warning("no %s: a parameter server is away (%s)", what, error.message)
    return False
  return True
