"""The newest checkpoint that can be used: one that is damaged is passed over."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import tensorflow as tf
from absl import logging

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)

_Result = TypeVar("_Result")

# Lists paths of checkpoints, the best first; not always the same ones beside a job that
# is running.
Finder = Callable[[], Sequence[str]]

_SET_ASIDE = ".refused"
# Between attempts to read from storage that does not work.
_PAUSES_SECS = (1.0, 4.0, 16.0)
# For one that nobody removes before it is read.
_MOST_LISTINGS = 20


class AllRefusedError(DamagedCheckpointError):
  """There are checkpoints, and none of them can be used."""


class Used(NamedTuple):
  """A checkpoint that was used, and those that were refused before it."""

  path: str
  refused: list[str]


def to_try(paths: Sequence[str], find: Finder | None = None) -> Iterator[list[str]]:
  """Yields what is left of paths, the best first, as one after the other is refused.

  Args:
    paths: the best first.
    find: lists them anew, where a running job has removed the one that was tried last;
      not without end.
  """
  tried = set()
  listings = 1
  while left := [path for path in paths if path not in tried]:
    yield left
    tried.add(left[0])
    if find and listings < _MOST_LISTINGS and checkpoint.was_removed(left[0]):
      paths = find()
      listings += 1


def first_sound(
  paths: Sequence[str],
  use: Callable[[str], object],
  find: Finder | None = None,
  sleep: Callable[[float], object] | None = None,
) -> Used:
  """Uses the first checkpoint that is not damaged.

  Args:
    paths: of one checkpoint or more, the best first.
    use: given a path, restores it, or raises one of `checkpoint_errors`.
    find: lists them anew, where a running job may remove some meanwhile.
    sleep: see `with_patience`.

  Raises:
    AllRefusedError: every one was damaged; the message has each one's reason.
    MisfitError: one is of another model. Those before it are not looked at, because
      training on from them would lose what came after.
    StorageError: one could not be read, several times. It may be sound.
  """
  reasons, refused = [], []
  for path, *older in to_try(paths, find):
    try:
      with_patience(f"checkpoint {path}", lambda: use(path), sleep)  # noqa: B023
      return Used(path, refused)
    except DamagedCheckpointError as error:
      if find and checkpoint.was_removed(path):
        logging.info("%s was removed before it was read", path)
        reasons.append(f"checkpoint {path} was removed before it was read")
        continue
      reasons.append(str(error))
      refused.append(path)
      if older:
        logging.error(
          "checkpoint %s is PASSED OVER, and what was trained since %s is lost unless "
          "that is damaged too: %s",
          path,
          older[0],
          error,
        )
  if len(reasons) == 1:
    raise AllRefusedError(reasons[0])
  raise AllRefusedError(
    f"none of {len(reasons)} checkpoints can be used: {'; '.join(reasons)}"
  )


def with_patience(
  what: str,
  use: Callable[[], _Result],
  sleep: Callable[[float], object] | None = None,
) -> _Result:
  """Uses something; again, several times, where storage does not work.

  Args:
    what: names it in the log.
    sleep: waits for seconds, and may end this by what it raises; default `time.sleep`.

  Returns:
    What `use` does.
  """
  for pause in _PAUSES_SECS:
    try:
      return use()
    except StorageError as error:
      logging.error("%s; %s is tried again in %g s", error, what, pause)
    (sleep or time.sleep)(pause)
  return use()


def set_aside(paths: Sequence[str], keep: int) -> list[str]:
  """Renames damaged checkpoints, so that they stand before no sound one: neither when
  the newest is looked for, nor among those that are kept.

  Args:
    keep: how many that were set aside stay, the newest.

  Returns:
    Those that could not be renamed, each of which the log names.
  """
  remaining = []
  for path in paths:
    to = path + _SET_ASIDE
    try:
      if tf.io.gfile.exists(checkpoint.tables_dir(to)):
        tf.io.gfile.rmtree(checkpoint.tables_dir(to))
      checkpoint.rename(path, to)
      logging.warning("what is left of checkpoint %s is in %s.* now", path, to)
    except (OSError, tf.errors.OpError) as error:
      logging.warning("%s cannot be renamed to %s: %s", path, to, error)
      remaining.append(path)
  if paths:
    _keep_newest(os.path.dirname(paths[0]), keep)
  return remaining


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
