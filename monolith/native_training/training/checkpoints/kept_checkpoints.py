"""What happens to the older checkpoints of a folder when one more is saved."""

import contextlib
import os
from collections.abc import Callable, Collection, Sequence

from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_leftovers,
  retention,
  sound_checkpoint,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  OtherSaverError,
)


class KeptCheckpoints:
  """Keeps the newest checkpoints of one process's training and removes others.

  Training goes on from the newest that is sound. What is newer than that was refused,
  or, where training went back, saved by this process meanwhile. Where it could not be
  set aside then it counts among no others, and is set aside as soon as storage lets it.
  Any other that is newer than what is saved is another process's, and is left alone.

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
    self._saved: set[str] = set()

  def refused(self, paths: Collection[str]) -> None:
    """Notes those that were refused when training began, and could not be set aside."""
    self._refused += paths

  def check_alone(self, path: str) -> None:
    """Looks for newer ones of another process.

    Args:
      path: of the one that is to be saved.

    Raises:
      OtherSaverError: there is one.
      StorageError: the folder cannot be read.
    """
    step = checkpoint.step_of(path)
    paths = checkpoint.checkpoints(os.path.dirname(path))
    self._check_known([p for p in paths if checkpoint.step_of(p) > step])

  def _check_known(self, paths: Sequence[str]) -> None:
    for path in paths:
      if path not in self._saved and path not in self._refused:
        raise OtherSaverError(
          f"another process trains, or has trained, in the same model_dir: {path} is "
          "newer than what this one saves, which has neither saved nor refused it. It "
          "saves nothing any more and leaves. Start all processes of the job again: "
          "they go on from there"
        )

  def saved(self, path: str, check: Callable[[], None] = lambda: None) -> None:
    """Lists the newest for TensorFlow's tools, the last of them the one that was just
    saved, and removes others, and what could not be removed before. Nobody else may be
    saving.

    Args:
      path: of that one.
      check: called before each change: this process may have stood still for so long
        that another one saves by now.

    Raises:
      OtherSaverError: there is a newer one of another process.
      OSError, tf.errors.OpError: not all of that could be done.
    """
    model_dir = os.path.dirname(path)
    self._saved.add(path)
    check()
    checkpoint_leftovers.remove_leftovers(model_dir)
    paths = checkpoint.checkpoints(model_dir)
    if path not in paths:
      raise FileNotFoundError(f"{path} is not there any more")
    newer = paths[paths.index(path) + 1 :]
    self._check_known(newer)
    self._saved.intersection_update(paths)
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
