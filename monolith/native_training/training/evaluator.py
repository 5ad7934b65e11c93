"""The evaluator's role: it follows the checkpoints of a running job."""

import time
from collections.abc import Iterator

from absl import logging

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)
from monolith.native_training.training.processes import heartbeat
from monolith.native_training.training.processes.heartbeat import HeartbeatWatch

_POLL_SECS = 1.0
# A folder may hold the final checkpoint of an earlier run, which a chief that is just
# starting is about to resume.
_RESUME_SECS = 30.0


def new_checkpoints(model_dir: str, timeout_secs: float) -> Iterator[str]:
  """Yields each new checkpoint's path, newest first served, until the final one.

  Args:
    timeout_secs: how long the chief may give no sign of life.

  Raises:
    TimeoutError: it has given none for so long, and there is no final checkpoint.
  """
  seen = None
  # What comes when the evaluator is there already is the running job's.
  is_of_this_job = False
  leave_at = time.monotonic() + _RESUME_SECS
  chief = HeartbeatWatch(model_dir)
  while True:
    try:
      path = checkpoint.latest_checkpoint(model_dir)
    except StorageError as error:
      logging.warning("looking for checkpoints again: %s", error)
      path = seen
    if path and path != seen:
      if is_of_this_job:
        leave_at = 0.0
      is_of_this_job = True
      seen = path
      yield path
      continue
    is_of_this_job = True
    if path and is_over(model_dir) and time.monotonic() >= leave_at:
      return
    if chief.silent_secs() > timeout_secs:
      raise TimeoutError(
        f"the chief has given no sign of life in {model_dir} for {timeout_secs:.0f} s, "
        f"and its last checkpoint ({path or 'none'}) does not end the job; the "
        "evaluator leaves"
      )
    time.sleep(_POLL_SECS)


def is_over_or_ending(model_dir: str) -> bool:
  """Whether the chief of a job has ended it, but for its last export."""
  return heartbeat.is_ending(model_dir) or is_over(model_dir)


def is_over(model_dir: str) -> bool:
  """Whether the chief of a job has ended it."""
  try:
    path = checkpoint.latest_checkpoint(model_dir)
    return bool(path) and checkpoint.is_final(path)
  # Damaged, or removed just now, because a newer one is there; or storage is away.
  except (DamagedCheckpointError, StorageError):
    return False
