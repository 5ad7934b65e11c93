"""What happens to the older checkpoints of a folder when one more is saved."""

import contextlib
import os
from collections.abc import Callable, Collection

from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_leftovers,
  retention,
  sound_checkpoint,
)


class KeptCheckpoints:
  """Keeps the newest checkpoints of one process's training and removes others.

  What is newer than the one that was just saved was refused when training began, and
  could not be set aside then, because training goes on from the newest that is sound.
  It counts among no others, from then on, and is set aside as soon as storage lets it.

  Args:
    max_to_keep: how many stay, with those that `retention.needed` names.
    in_use: names checkpoints that are being read, which stay too. Asked from the thread
      of `saved`.
  """

  def __init__(
    self, max_to_keep: int, in_use: Callable[[], Collection[str]] = lambda: ()
  ):
    self._max_to_keep = max_to_keep
    self._in_use = in_use
    self._refused: list[str] = []

  def saved(self, path: str, check: Callable[[], None] = lambda: None) -> None:
    """Lists the newest for TensorFlow's tools, the last of them the one that was just
    saved, and removes others, and what could not be removed before. Nobody else may be
    saving.

    Args:
      path: of that one.
      check: called before each change: this process may have stood still for so long
        that another one saves by now.

    Raises:
      OSError, tf.errors.OpError: not all of that could be done.
    """
    model_dir = os.path.dirname(path)
    check()
    checkpoint_leftovers.remove_leftovers(model_dir)
    paths = checkpoint.checkpoints(model_dir)
    if path not in paths:
      raise FileNotFoundError(f"{path} is not there any more")
    newer = paths[paths.index(path) + 1 :]
    refused = [p for p in paths if p in self._refused or p in newer]
    check()
    self._refused = sound_checkpoint.set_aside(refused, self._max_to_keep)
    paths = [p for p in paths if p not in refused]
    kept = retention.newest(paths, self._max_to_keep)
    checkpoint.write_state(model_dir, [os.path.basename(p) for p in kept])
    check()
    needed = retention.needed(paths, self._max_to_keep, self._in_use())
    # All of them, also where one fails; the last first, which is made from others.
    with contextlib.ExitStack() as removals:
      for each in paths:
        if each not in needed:
          removals.callback(checkpoint.remove, each)
