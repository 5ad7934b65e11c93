"""What the chief saves: beside training now and then, and once at its end."""

import contextlib
import time
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import logging

from monolith.core.hyperparams import Params
from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.checkpoints import background_save, checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  OtherSaverError,
)
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer
from monolith.native_training.training.checkpoints.save_policy import SavePolicy
from monolith.native_training.training.eviction import Eviction
from monolith.native_training.training.job_exports import JobExports
from monolith.native_training.training.positions.stream_positions import StreamPositions
from monolith.native_training.training.processes.coordination import JobReports
from monolith.native_training.training.processes.heartbeat import Heartbeat
from monolith.native_training.training.processes.server_question import SERVER_IS_AWAY
from monolith.native_training.training.progress.progress import ProgressReporter
from monolith.native_training.training.runner_config import RunnerConfig

# What storage raises that is full, read-only or away.
_WRITING_FAILS = (tf.errors.OpError, OSError)
# With these training goes on.
_SAVING_FAILS = (*_WRITING_FAILS, RuntimeError)
_LEAVE_SECS = 5.0
_POLL_SECS = 0.2
# A server may begin a save after it was told to hurry.
_HURRY_AGAIN_SECS = 1.0
# A save that takes longer than this, and than the time between saves, may hang.
_LONG_SECS = 600.0
_TELL_AGAIN_SECS = 60.0
# Who was asked to leave waits for no save that takes longer.
_HANGS_SECS = 1800.0
# For so long the last save is tried.
_LAST_SAVE_SECS = 300.0
# A server that leaves waits for a save, but not for long.
_SERVER_RETRY_SECS = 5.0


class JobSaves:
  """The chief's checkpoints. Used from one thread.

  Args:
    exports: what exports the checkpoints.
    streams: those of the job, if it reads any.
    reports: of the servers that leave when they are saved; None where there are none.

  Attributes:
    policy: when to save.
  """

  def __init__(
    self,
    config: RunnerConfig,
    params: Params,
    checkpointer: Checkpointer,
    eviction: Eviction,
    exports: JobExports,
    streams: StreamPositions | None = None,
    reports: JobReports | None = None,
  ):
    self.policy = SavePolicy(config, params)
    self._model_dir = config.model_dir
    self._checkpointer = checkpointer
    self._eviction = eviction
    self._exports = exports
    self._streams = streams
    self._reports = reports
    self._background = background_save.BackgroundSave(self._save)
    self._heartbeat: Heartbeat | None = None
    self._last_path: str | None = None
    self._tell_at = 0.0
    self._servers_wait_until = 0.0

  def guard_by(self, heartbeat: Heartbeat) -> None:
    """Names what tells of another chief; then nothing is saved any more."""
    self._heartbeat = heartbeat

  def _check_alone(self) -> None:
    if self._heartbeat:
      self._heartbeat.look()

  def _save(self, save: background_save.Save) -> None:
    """Does a save; in another thread than the rest."""
    with contextlib.ExitStack() as stack:
      if self._reports:
        stack.enter_context(self._reports.saving(save.session))
      self._write(save)
    # Before the next save may remove it.
    self._exports.offer(save.path)

  def _write(self, save: background_save.Save) -> None:
    """Writes the checkpoint of a save."""
    self._check_alone()
    save.evicted = self._eviction.run(save.session)
    if self._streams:  # Before the rows: what is covered must be in them.
      save.offsets = self._streams.read(save.session)
    begin = time.monotonic()
    path = self._checkpointer.save(
      save.session,
      self._model_dir,
      save.step,
      check=self._check_alone,
      is_urgent=lambda: save.urgent,
    )
    save.secs = time.monotonic() - begin
    # The checkpoint is complete, whoever dies now; the next step notices.
    with contextlib.suppress(*SERVER_IS_AWAY):
      save.tables = self._checkpointer.table_stats(save.session)
    save.path = path

  @contextlib.contextmanager
  def beside_training(self) -> Iterator[None]:
    """A context that waits at its end for the save that is running; where an exception
    ends it, for a few seconds only, and for an export too."""
    try:
      yield
    except BaseException:
      self.wait(_LEAVE_SECS)
      self._exports.leave(_LEAVE_SECS)
      raise
    self.wait()

  def wait(self, secs: float | None = None) -> None:
    """Waits until no save is running, or for so many seconds; tells of one that takes
    long."""
    give_up = None if secs is None else time.monotonic() + secs
    while self._background.is_busy and (give_up is None or time.monotonic() < give_up):
      left = _POLL_SECS if give_up is None else give_up - time.monotonic()
      self._background.wait(max(min(left, _POLL_SECS), 0))
      self._tell_of_long_save()

  def _tell_of_long_save(self) -> None:
    """Tells again and again of a save that may hang; asks storage for nothing."""
    save, now = self._background.current, time.monotonic()
    if save is None or not self._background.is_busy or now < self._tell_at:
      return
    secs = now - save.began_at
    if secs < max(_LONG_SECS, self.policy.every_secs or 0):
      return
    self._tell_at = now + _TELL_AGAIN_SECS
    logging.error(
      "%s after %.0f min: storage may hang. Nothing else is saved meanwhile; the last "
      "checkpoint that this chief has saved is %s",
      _what_is_not_saved(save),
      secs / 60,
      self._last_path or "none",
    )

  def step_done(
    self, session: tf.compat.v1.Session, step: int, progress: ProgressReporter
  ) -> None:
    """Begins to save if that is due, and reports what was saved.

    Args:
      session: in which a step was done.
      step: the global step.
    """
    if self._heartbeat:
      self._heartbeat.check()
    self.report(session, progress)
    if self._background.is_running:
      if self._has_servers_to_save_for():
        self._hurry()
      self._tell_of_long_save()
      return
    if self._has_servers_to_save_for():
      self._begin(session, step, is_for_servers=True, urgent=True)
    elif self.policy.is_due(step):
      if self._is_saved(session, step):
        self.policy.begin(step)  # Nothing has come of a stream since.
      else:
        self._begin(session, step)

  def _begin(
    self,
    session: tf.compat.v1.Session,
    step: int,
    is_for_servers: bool = False,
    urgent: bool = False,
  ) -> None:
    """Begins a save, which covers all that this process has trained on."""
    if self._streams:
      self._streams.write(session)
    # Last: they ask once.
    leaving = self._reports.take_leaving_servers() if is_for_servers else frozenset()
    self._background.begin(session, step, leaving, urgent)

  def _hurry(self) -> None:
    """Makes a save that is running urgent, also on servers that begin it later."""
    save, now = self._background.current, time.monotonic()
    if save is None or not self._background.is_busy:
      return
    if save.hurry_at is None and save.urgent:
      return  # It was so from the beginning.
    if save.hurry_at is not None and now < save.hurry_at:
      return
    save.urgent, save.hurry_at = True, now + _HURRY_AGAIN_SECS
    # Where servers are away, or the session was closed, the save itself fails.
    with contextlib.suppress(tf.errors.OpError, RuntimeError):
      self._checkpointer.hurry(save.session)

  def _has_servers_to_save_for(self) -> bool:
    if not self._reports or time.monotonic() < self._servers_wait_until:
      return False
    return self._reports.has_leaving_servers

  def _is_saved(self, session: tf.compat.v1.Session, step: int) -> bool:
    """Whether the last checkpoint has all that was trained on of streams."""
    if not self._streams or step != self.policy.last_step:
      return False
    return self._streams.is_saved(session)

  def report(self, session: tf.compat.v1.Session, progress: ProgressReporter) -> None:
    """As `report_save`, and reports exports that have failed."""
    self.report_save(session, progress)
    self._exports.report()

  def report_save(
    self, session: tf.compat.v1.Session, progress: ProgressReporter
  ) -> None:
    """Reports the save that has ended, if one has.

    Args:
      session: the present one.
    """
    save = self._background.take_done()
    if not save:
      return
    self._report_done(session, save, progress)
    if save.for_servers and not save.path:
      self._reports.keep_leaving(save.for_servers)
      self._servers_wait_until = time.monotonic() + _SERVER_RETRY_SECS
    error = save.error
    if error is None:
      return
    if isinstance(error, SERVER_IS_AWAY) or (
      save.session is not session and isinstance(error, _SAVING_FAILS)
    ):
      logging.warning("no checkpoint: a parameter server was away (%s)", error)
    elif not isinstance(error, _SAVING_FAILS) or isinstance(error, OtherSaverError):
      raise error
    else:
      self._tell_not_saved(save, "TRAINING GOES ON, the last checkpoint is still")

  def _tell_not_saved(self, save: background_save.Save, goes_on: str) -> None:
    logging.error(
      "the checkpoint of step %d was NOT SAVED: %s: %s. %s %s, and saving is tried "
      "again in %s",
      save.step,
      type(save.error).__name__,
      save.error,
      goes_on,
      self._last(),
      self.policy.failed(save.step),
    )

  def _last(self) -> str:
    try:
      return checkpoint.latest_checkpoint(self._model_dir) or "none"
    except OSError:
      return "what it was"

  def _report_done(
    self,
    session: tf.compat.v1.Session,
    save: background_save.Save,
    progress: ProgressReporter,
  ) -> None:
    """Reports what a save that has ended has done."""
    if save.path:
      progress_log.info("saved %s in %.1f s", save.path, save.secs)
      self._last_path = save.path
      self.policy.saved(save.step, save.began_at)
      if self._streams:
        self._streams.saved(save.offsets)
      if save.for_servers:
        self._reports.let_leave(session, save.for_servers)
    if save.tables is not None:
      progress.tables(save.step, save.tables)
    if save.evicted is not None:
      progress.evicted(save.step, save.evicted)

  def save_now(
    self,
    session: tf.compat.v1.Session,
    step: int,
    progress: ProgressReporter,
  ) -> None:
    """Saves, after a save that is running. For who was asked to leave: an export that
    fails is told by the log.

    Raises:
      TimeoutError: it does not come to an end.
      Exception: why there is no checkpoint.
    """
    save = self._save_and_wait(session, step, progress, lambda: True)
    if save.error:
      raise save.error
    self._exports.leave()

  def save_last(
    self,
    session: tf.compat.v1.Session,
    step: int,
    progress: ProgressReporter,
    is_to_leave: Callable[[], bool],
  ) -> bool:
    """Saves at the end of the job. Where storage fails it is tried for some minutes.

    Args:
      is_to_leave: whether this process was asked to leave.

    Returns:
      False where it was so before the job was saved.

    Raises:
      TimeoutError: it was so, and the save does not come to an end.
      Exception: what has failed.
    """
    give_up = time.monotonic() + _LAST_SAVE_SECS
    while True:
      save = self._save_and_wait(session, step, progress, is_to_leave)
      if not save.error:
        return True
      is_storage = isinstance(save.error, _WRITING_FAILS)
      if not is_storage or isinstance(save.error, SERVER_IS_AWAY):
        raise save.error
      if time.monotonic() > give_up:
        raise save.error
      self._tell_not_saved(
        save, "ALL IS TRAINED, and this is the last one. The one before is"
      )
      while not self.policy.is_due(step):
        if is_to_leave():
          return False
        if self._heartbeat:
          self._heartbeat.check()
        time.sleep(_POLL_SECS)

  def _save_and_wait(
    self,
    session: tf.compat.v1.Session,
    step: int,
    progress: ProgressReporter,
    is_to_leave: Callable[[], bool],
  ) -> background_save.Save:
    """Does a save, after one that is running."""
    self.wait_for_end(is_to_leave)
    self.report_save(session, progress)
    progress.saving()
    self._begin(session, step, urgent=True)
    self.wait_for_end(is_to_leave)
    save = self._background.take_done()
    self._report_done(session, save, progress)
    return save

  def remove_older(self) -> None:
    """Removes checkpoints that are kept no more since none of them is exported."""
    path = self._last_path or checkpoint.latest_checkpoint(self._model_dir)
    self._checkpointer.remove_older(path, self._check_alone)

  def wait_for_end(self, is_to_leave: Callable[[], bool]) -> None:
    """Waits until no save is running, which hurries now.

    Args:
      is_to_leave: whether this process was asked to leave: then not for one that does
        not come to an end.

    Raises:
      TimeoutError: it was so, and there is one.
    """
    while self._background.is_busy:
      self._hurry()
      self.wait(_POLL_SECS)
      save = self._background.current
      secs = time.monotonic() - save.began_at
      if self._background.is_busy and secs > _HANGS_SECS and is_to_leave():
        raise TimeoutError(
          f"{_what_is_not_saved(save)} after {secs / 60:.0f} min, and waited for no "
          "longer: storage may hang. The last checkpoint that this chief has saved is "
          f"{self._last_path or 'none'}"
        )


def _what_is_not_saved(save: background_save.Save) -> str:
  return f"the checkpoint of step {save.step} is NOT SAVED YET"
