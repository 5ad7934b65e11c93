"""What the chief saves: beside training now and then, and once at its end."""

import contextlib
import time
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import logging

from monolith.core.hyperparams import Params
from monolith.native_training.training import (
  background_save,
  checkpoint,
  progress_log,
)
from monolith.native_training.training.checkpoint_errors import DamagedCheckpointError
from monolith.native_training.training.checkpointer import Checkpointer
from monolith.native_training.training.coordination import JobReports
from monolith.native_training.training.eviction import Eviction
from monolith.native_training.training.progress import ProgressReporter
from monolith.native_training.training.runner_config import RunnerConfig
from monolith.native_training.training.save_policy import SavePolicy
from monolith.native_training.training.stream_positions import StreamPositions

# What a full disk, a read-only folder and the like raise: training goes on.
_STORAGE_FAILS = (
  tf.errors.OpError,
  OSError,
  RuntimeError,
  DamagedCheckpointError,  # Of what was just saved, when it is exported.
)
_SERVER_IS_AWAY = (tf.errors.AbortedError, tf.errors.UnavailableError)
_LEAVE_SECS = 5.0


class JobSaves:
  """The chief's checkpoints. Used from one thread.

  Args:
    on_save: called with the path of each checkpoint that was saved, perhaps in another
      thread.
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
    on_save: Callable[[str], object] | None = None,
    streams: StreamPositions | None = None,
    reports: JobReports | None = None,
  ):
    self.policy = SavePolicy(config, params)
    self._model_dir = config.model_dir
    self._checkpointer = checkpointer
    self._eviction = eviction
    self._on_save = on_save
    self._streams = streams
    self._reports = reports
    self._background = background_save.BackgroundSave(self._save)

  def _save(self, save: background_save.Save) -> None:
    """Does a save; in another thread than the rest, but for the last one."""
    with contextlib.ExitStack() as stack:
      if self._reports:
        stack.enter_context(self._reports.saving(save.session))
      self._save_all(save)

  def _save_all(self, save: background_save.Save) -> None:
    save.evicted = self._eviction.run(save.session)
    if self._streams:  # Before the rows: what is covered must be in them.
      save.offsets = self._streams.read(save.session)
    begin = time.monotonic()
    save.path = self._checkpointer.save(save.session, self._model_dir, save.step)
    save.secs = time.monotonic() - begin
    # The checkpoint is complete, whoever dies now; the next step notices.
    with contextlib.suppress(*_SERVER_IS_AWAY):
      save.tables = self._checkpointer.table_stats(save.session)
    if self._on_save:
      self._on_save(save.path)

  @contextlib.contextmanager
  def beside_training(self) -> Iterator[None]:
    """A context that waits at its end for the save that is running; where an exception
    ends it, for a few seconds only."""
    patience = _LEAVE_SECS
    try:
      yield
      patience = None
    finally:
      self.wait(patience)

  def wait(self, secs: float | None = None) -> None:
    """Waits until no save is running, or for so many seconds."""
    self._background.wait(secs)

  def step_done(
    self, session: tf.compat.v1.Session, step: int, progress: ProgressReporter
  ) -> None:
    """Begins to save if that is due, and reports what was saved.

    Args:
      session: in which a step was done.
      step: the global step.
    """
    self.report(session, progress)
    if self._background.is_running:
      return
    if self._reports and self._reports.has_leaving_servers:
      leaving = self._reports.take_leaving_servers()
      self._background.begin(session, step, leaving)
    elif self.policy.is_due(step):
      if self._is_saved(session, step):
        self.policy.begin(step)  # Nothing has come of a stream since.
      else:
        self._background.begin(session, step)

  def _is_saved(self, session: tf.compat.v1.Session, step: int) -> bool:
    """Whether the last checkpoint has all that was trained on of streams."""
    if not self._streams or step != self.policy.last_step:
      return False
    return self._streams.is_saved(session)

  def report(self, session: tf.compat.v1.Session, progress: ProgressReporter) -> None:
    """Reports the save that has ended, if one has.

    Args:
      session: the present one.
    """
    save = self._background.take_done()
    if not save:
      return
    self._report_done(save, progress)
    if save.path and save.for_servers:
      self._reports.let_leave(session, save.for_servers)
    error = save.error
    if error is None:
      return
    if isinstance(error, _SERVER_IS_AWAY) or (
      save.session is not session and isinstance(error, _STORAGE_FAILS)
    ):
      logging.warning("no checkpoint: a parameter server was away (%s)", error)
    elif not isinstance(error, _STORAGE_FAILS):
      raise error
    elif save.path:
      logging.error(
        "checkpoint %s is saved, but what belongs to it is not: %s: %s. TRAINING GOES "
        "ON; the next checkpoint's will be tried",
        save.path,
        type(error).__name__,
        error,
      )
    else:
      logging.error(
        "the checkpoint of step %d was NOT SAVED: %s: %s. TRAINING GOES ON, the last "
        "checkpoint is still %s, and saving is tried again in %s",
        save.step,
        type(error).__name__,
        error,
        self._last(),
        self.policy.failed(save.step),
      )

  def _last(self) -> str:
    try:
      return checkpoint.latest_checkpoint(self._model_dir) or "none"
    except tf.errors.OpError:
      return "what it was"

  def _report_done(
    self, save: background_save.Save, progress: ProgressReporter
  ) -> None:
    if save.evicted is not None:
      progress.evicted(save.step, save.evicted)
    if save.path:
      progress_log.info("saved %s in %.1f s", save.path, save.secs)
      self.policy.saved(save.step, save.began_at)
      if self._streams:
        self._streams.saved(save.offsets)
    if save.tables is not None:
      progress.tables(save.step, save.tables)

  def save_now(
    self,
    session: tf.compat.v1.Session,
    step: int,
    progress: ProgressReporter,
  ) -> None:
    """Saves in this thread, after a save that is running.

    Raises:
      Exception: what has failed.
    """
    self.wait()
    self.report(session, progress)
    progress.saving()
    save = self._background.run(session, step)
    self._report_done(save, progress)
    if save.error:
      raise save.error
