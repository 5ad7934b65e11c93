"""Which of the checkpoints in a folder are kept."""

import functools
from collections.abc import Callable, Collection, Sequence

from absl import logging

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


def newest(paths: Sequence[str], count: int) -> list[str]:
  """The newest checkpoints, of each step the one that was saved last.

  Args:
    paths: of checkpoints, oldest first.
    count: how many.
  """
  last_of_step = {checkpoint.step_of(path): path for path in paths}
  return [path for path in paths if path in last_of_step.values()][-count:]


def needed(
  paths: Sequence[str], max_to_keep: int, in_use: Collection[str] = ()
) -> set[str]:
  """The newest checkpoints, those in use, and those that all of these are made from.

  As long as all of these hang on one with all rows, a damaged byte of which would cost
  them all, the newest that hangs on another stays as well; but not where only one is to
  be kept.

  Args:
    paths: of all checkpoints in a folder, oldest first.
    max_to_keep: how many are kept for their own sake.
    in_use: of some that are being read.

  Raises:
    StorageError: a manifest cannot be read.
  """
  kept = newest(paths, max_to_keep)
  result, roots = set(kept), set()
  # Chains share most of theirs.
  read = functools.cache(checkpoint.read_manifest)
  for path in in_use:
    if path in paths:
      result.update([path, *_chain(path, read)])
  for path in kept:
    if chain := _chain(path, read):
      result.update(chain)
      roots.add(chain[0])
  if max_to_keep > 1 and len(roots) < 2:
    for path in newest(paths, len(paths))[: -len(kept)][::-1]:
      chain = _chain(path, read)
      if chain and chain[0] not in roots:
        return result.union(chain)
  return result


def _chain(path: str, read: Callable[[str], Manifest]) -> list[str]:
  try:
    return list(checkpoint.read_chain(path, read))
  except DamagedCheckpointError as error:
    logging.warning("%s cannot be used: %s", path, error)
    return []
