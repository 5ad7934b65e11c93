"""Where a job's training begins, and where it is to end."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.checkpoints import checkpoint, sound_checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  OtherSaverError,
  StorageError,
)
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer
from monolith.native_training.training.checkpoints.save_policy import SavePolicy
from monolith.native_training.training.positions.data_positions import DataPositions
from monolith.native_training.training.positions.stream_positions import StreamPositions
from monolith.native_training.training.session import Beginning


class JobStart:
  """Brings in order what goes with the model that training begins with.

  Only the chief calls its methods; every worker reads `limit`.

  Args:
    model_dir: folder of the job's checkpoints.
    max_to_keep: how many of those that were refused stay there.
    warm_start_from: folder or path of a checkpoint to take initial values from.
    positions: of the workers in their data.
    policy: counts from where training begins.
    on_back: called when training has gone back to an earlier state of the model.
    on_begin: called once, with the path of the checkpoint that this chief goes on from,
      where there is one. Whoever saved it may have been killed before it was exported.
    streams: those of the job, if it reads any.

  Attributes:
    limit: int64 scalar, the global step at which all workers stop.
  """

  def __init__(
    self,
    model_dir: str,
    max_to_keep: int,
    warm_start_from: str | None,
    checkpointer: Checkpointer,
    positions: DataPositions,
    policy: SavePolicy,
    on_back: Callable[[], None],
    on_begin: Callable[[str], object] = lambda path: None,
    streams: StreamPositions | None = None,
  ):
    self._model_dir = model_dir
    self._max_to_keep = max_to_keep
    self._warm_start_from = warm_start_from
    self._checkpointer = checkpointer
    self._positions = positions
    self._policy = policy
    self._on_back = on_back
    self._on_begin = on_begin
    self._streams = streams
    self._has_begun = False
    self._is_same_run = False
    self._job_limit: int | None = None  # Once that is known.
    self._global_step = tf.compat.v1.train.get_global_step()
    # No global variable: it is the job's, not the model's.
    with tf.device(self._global_step.device):
      self._limit_value = tf.compat.v1.placeholder(tf.int64, [])
      self.limit = tf.compat.v1.Variable(
        self._limit_value, trainable=False, collections=[], use_resource=True
      )
    self._limit_is_set = self.limit.is_initialized()

  def resume_end(self) -> None:
    """Before it begins: the end of an earlier chief's job is not that of another run,
    because that chief was killed, or failed, when it had come to it."""
    logging.warning(
      "the last chief did not get further than the end of the job, at which all is "
      "saved; the data do not begin anew this time"
    )
    self._is_same_run = True

  def checkpoints(self) -> list[str]:
    """Paths of those to begin with, the best first.

    Raises:
      StorageError: the folder could not be read, several times.
    """
    paths = sound_checkpoint.with_patience(
      self._model_dir, lambda: checkpoint.checkpoints(self._model_dir)
    )
    return paths[::-1]

  def warm_start(self, session: tf.compat.v1.Session) -> None:
    """Takes initial values from another model, where that is asked for.

    Raises:
      ValueError: it has no checkpoint, or none that can be used.
    """
    source = self._warm_start_from
    if not source:
      return

    def find() -> list[str]:
      paths = checkpoint.checkpoints(source)[::-1]
      path = checkpoint.named_by(source)
      if not paths and checkpoint.is_complete(path):
        paths = [path]
      if not paths:
        raise ValueError(f"warm_start_from: found no complete checkpoint in {source}")
      return paths

    sound_checkpoint.first_sound(
      find(), lambda path: self._checkpointer.warm_start(session, path), find
    )

  def begin(
    self,
    session: tf.compat.v1.Session,
    beginning: Beginning,
    steps: int | None,
    max_steps: int | None,
  ) -> None:
    """Begins, or begins anew after a server was lost.

    Args:
      beginning: the model there is.
      steps: global steps to go.
      max_steps: global step to stop at.

    Raises:
      StorageError: it could not be noted, several times, that training goes on from a
        checkpoint with which it had ended; or the folder of an earlier chief's not be
        read.
    """
    path = beginning.checkpoint
    if path:
      self._checkpointer.refused(
        sound_checkpoint.set_aside(beginning.refused, self._max_to_keep)
      )
      in_same_run = self._has_begun or self._is_same_run
      anew = checkpoint.begins_data_anew(path, in_same_run)
      if anew:
        self._positions.reset(session)
      sound_checkpoint.with_patience(
        f"marking checkpoint {path}", lambda: self._mark(path, anew)
      )
    if self._streams and not beginning.is_live:
      self._streams.begin_job(session)
    step = int(session.run(self._global_step))
    self._set_limit(session, step, steps, max_steps)
    if beginning.is_live:
      progress_log.info("the servers hold the model; going on at step %d", step)
      if not self._has_begun:
        path = self._take_over(step)
    else:
      if self._has_begun:
        self._on_back()
      self._policy.begin(step)
      self._policy.last_step = step if path else None
    if path and not self._has_begun:
      self._on_begin(path)
    self._has_begun = True

  def _take_over(self, step: int) -> str | None:
    """Goes on with the checkpoints of an earlier chief; returns the newest, if any.

    Args:
      step: of the live model.

    Raises:
      OtherSaverError: there is one that is none of that chief's.
    """
    paths = self.checkpoints()
    if paths and checkpoint.step_of(paths[0]) > step:
      raise OtherSaverError(
        f"{paths[0]} is newer than step {step}, at which the servers are: another "
        "process has trained in the same model_dir, or it is damaged and could not be "
        "set aside. Start all processes of this job again: they go on from the newest "
        "that is sound"
      )
    self._policy.take_over(*_last_save(paths))
    return paths[0] if paths else None

  def _mark(self, path: str, data_from_start: bool) -> None:
    """Notes that training goes on from a checkpoint."""
    checkpoint.mark(
      path,
      final=False,
      data_from_start=data_from_start,
      advice=f"model_dir {self._model_dir} has to be writable; to train from a model "
      "that is to stay as it is, give another model_dir, and this one as "
      "warm_start_from",
    )

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
      self._job_limit = int(session.run(self.limit))
      return
    if self._job_limit is None:
      limits = [max_steps, begin + steps if steps else None]
      self._job_limit = min((n for n in limits if n is not None), default=tf.int64.max)
    session.run(self.limit.initializer, {self._limit_value: self._job_limit})


def _last_save(paths: Sequence[str]) -> tuple[int, float]:
  """Step and time of the first of some checkpoints, the time in seconds since 1970: 0
  where there is none, and where that cannot be read."""
  if not paths:
    return 0, 0.0
  step = checkpoint.step_of(paths[0])
  try:
    return step, float(checkpoint.read_manifest(paths[0]).saved_at)
  except (DamagedCheckpointError, StorageError):
    return step, 0.0
