"""The newest checkpoint that can be used: one that is damaged is passed over."""

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import tensorflow as tf
from absl import logging

from monolith.native_training.training import checkpoint
from monolith.native_training.training.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)

_Result = TypeVar("_Result")

_SET_ASIDE = ".refused"
# Between attempts to read from storage that does not work.
_PAUSES_SECS = (1.0, 4.0, 16.0)


class AllRefusedError(DamagedCheckpointError):
  """There are checkpoints, and none of them can be used."""


def first_sound(paths: Sequence[str], use: Callable[[str], object]) -> str:
  """Uses the first checkpoint that is not damaged.

  Args:
    paths: of one checkpoint or more, the best first.
    use: given a path, restores it, or raises one of `checkpoint_errors`.

  Returns:
    The path of the one that was used.

  Raises:
    AllRefusedError: every one was damaged; the message has each one's reason.
    MisfitError: one is of another model. Those before it are not looked at, because
      training on from them would lose what came after.
    StorageError: one could not be read, several times. It may be sound.
  """
  reasons = []
  for i, path in enumerate(paths):
    try:
      with_patience(f"checkpoint {path}", lambda: use(path))  # noqa: B023
      return path
    except DamagedCheckpointError as error:
      reasons.append(str(error))
      if i + 1 < len(paths):
        logging.error(
          "checkpoint %s is PASSED OVER, and what was trained since %s is lost unless "
          "that is damaged too: %s",
          path,
          paths[i + 1],
          error,
        )
  if len(reasons) == 1:
    raise AllRefusedError(reasons[0])
  raise AllRefusedError(
    f"none of {len(reasons)} checkpoints can be used: {'; '.join(reasons)}"
  )


def with_patience(what: str, use: Callable[[], _Result]) -> _Result:
  """Uses something; again, several times, where storage does not work.

  Args:
    what: names it in the log.

  Returns:
    What `use` does.
  """
  for pause in _PAUSES_SECS:
    try:
      return use()
    except StorageError as error:
      logging.error("%s; %s is tried again in %g s", error, what, pause)
    time.sleep(pause)
  return use()


def set_aside(paths: Sequence[str], keep: int) -> None:
  """Renames damaged checkpoints, so that they stand before no sound one: neither when
  the newest is looked for, nor among those that are kept. Where that fails, the log
  says so.

  Args:
    keep: how many that were set aside stay, the newest.
  """
  for path in paths:
    to = path + _SET_ASIDE
    try:
      if tf.io.gfile.exists(checkpoint.tables_dir(to)):
        tf.io.gfile.rmtree(checkpoint.tables_dir(to))
      checkpoint.rename(path, to)
      logging.warning("what is left of checkpoint %s is in %s.* now", path, to)
    except (OSError, tf.errors.OpError) as error:
      logging.warning("%s cannot be renamed to %s: %s", path, to, error)
  if paths:
    _keep_newest(os.path.dirname(paths[0]), keep)


def _keep_newest(model_dir: str, keep: int) -> None:
  # Of one that was removed in part there may be any of its files.
  pattern = re.compile(f"({checkpoint.NAME}){re.escape(_SET_ASIDE)}\\..+")
  matches = filter(None, map(pattern.fullmatch, tf.io.gfile.listdir(model_dir)))
  order = {(int(m["step"]), int(m["again"] or 0)): m[1] + _SET_ASIDE for m in matches}
  for _, name in sorted(order.items())[:-keep]:
    path = os.path.join(model_dir, name)
    try:
      checkpoint.remove(path)
    except (OSError, tf.errors.OpError) as error:
      logging.warning("%s.* cannot be removed: %s", path, error)
