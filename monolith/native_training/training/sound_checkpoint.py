"""The newest checkpoint that can be used: one that is refused is passed over."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.training import checkpoint

_SET_ASIDE = ".refused"


class AllRefusedError(ValueError):
  """There are checkpoints, and none of them can be used."""


def first_sound(paths: Sequence[str], use: Callable[[str], object]) -> str:
  """Uses the first checkpoint that is not refused.

  Args:
    paths: of one checkpoint or more, the best first.
    use: given a path, restores it, or raises a ValueError that says why it is refused.

  Returns:
    The path of the one that was used.

  Raises:
    AllRefusedError: every one was refused; the message has each one's reason.
  """
  reasons = []
  for i, path in enumerate(paths):
    try:
      use(path)
      return path
    except ValueError as error:
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


def set_aside(paths: Sequence[str]) -> None:
  """Renames refused checkpoints, so that they stand before no sound one: neither when
  the newest is looked for, nor among those that are kept. Where that fails, the log
  says so."""
  for path in paths:
    to = path + _SET_ASIDE
    try:
      if tf.io.gfile.exists(checkpoint.tables_dir(to)):
        tf.io.gfile.rmtree(checkpoint.tables_dir(to))
      checkpoint.rename(path, to)
      logging.warning("what is left of checkpoint %s is in %s.* now", path, to)
    except (OSError, tf.errors.OpError) as error:
      logging.warning("%s cannot be renamed to %s: %s", path, to, error)
