"""The evaluator's role: it follows the checkpoints of a running job."""

import time
from collections.abc import Iterator

from monolith.native_training.training import checkpoint

_POLL_SECS = 1.0
# A folder may hold the final checkpoint of an earlier run, which a chief that is just
# starting is about to resume.
_RESUME_SECS = 30.0


def new_checkpoints(model_dir: str) -> Iterator[str]:
  """Yields each new checkpoint's path, newest first served, until the final one."""
  seen = None
  leave_at = time.monotonic() + _RESUME_SECS
  while True:
    path = checkpoint.latest_checkpoint(model_dir)
    if path and path != seen:
      if seen:
        leave_at = 0.0
      seen = path
      yield path
      continue
    if path and checkpoint.is_final(path) and time.monotonic() >= leave_at:
      return
    time.sleep(_POLL_SECS)
