"""Phases of a save at which the chief of a test job stops until it was struck.

The chief's own functions are wrapped in its process; nothing of this is known to the
code that trains. It says in a file that it is there, and waits for another file that
says that whoever was to be killed is dead, which may be itself.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

BEFORE_SAVE = "before the save"
BEFORE_DENSE = "before dense variables"
BEFORE_MANIFEST = "before the manifest"
AFTER_MANIFEST = "after the manifest"
HALF_REMOVED = "removing an old one"
REPLACING = "removing a replaced one"
IN_LAST_SAVE = "in the last save"
AFTER_LAST_SAVE = "after the last save"
BEFORE_END = "before the end is marked"
AFTER_END = "when the end is marked"
PHASES = (
  BEFORE_SAVE,
  BEFORE_DENSE,
  BEFORE_MANIFEST,
  AFTER_MANIFEST,
  HALF_REMOVED,
  REPLACING,
  IN_LAST_SAVE,
  AFTER_LAST_SAVE,
  BEFORE_END,
  AFTER_END,
)
# When the others leave, or have left.
AT_THE_END = (BEFORE_END, AFTER_END)
# Of which a job has one.
ONCE = (IN_LAST_SAVE, AFTER_LAST_SAVE, *AT_THE_END)

_REACHED = "reached"
_STRUCK = "struck"
_PATIENCE_SECONDS = 20.0
_POLL_SECONDS = 0.01


class Stop:
  """One stop of a job, the first time that it is due; no later chief stops again.

  Args:
    folder: for the files; the chief and who strikes name the same.
    phase: one of `PHASES`.
    time: at which time that the phase is reached by a process.
  """

  def __init__(self, folder: str, phase: str = "", time: int = 1):
    self._folder = folder
    self._phase = phase
    self._times_left = time

  def reach(self, phase: str) -> None:
    """Called by the chief: stops it if that is the phase and the time."""
    if phase != self._phase or self.is_reached():
      return
    self._times_left -= 1
    if self._times_left > 0:
      return
    self._say(_REACHED)
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not self._is_said(_STRUCK) and time.monotonic() < give_up:
      time.sleep(_POLL_SECONDS)

  def is_next(self, phase: str) -> bool:
    """Whether that is the phase, and nobody has stopped yet."""
    return phase == self._phase and not self.is_reached()

  def is_reached(self) -> bool:
    """Whether the chief has stopped, now or before."""
    return self._is_said(_REACHED)

  def go_on(self) -> None:
    """Lets the chief go on, if it still lives."""
    self._say(_STRUCK)

  def _say(self, word: str) -> None:
    open(os.path.join(self._folder, word), "w").close()

  def _is_said(self, word: str) -> bool:
    return os.path.exists(os.path.join(self._folder, word))


def install(stop: Stop) -> None:
  """Makes this process, a chief, stop there."""
  # Here, because the program that strikes has no use for TensorFlow.
  import tensorflow as tf

  from monolith.native_training.training import job_saves
  from monolith.native_training.training.checkpoints import (
    checkpoint,
    checkpointer,
    dense_variables,
  )

  removing, last, replaced = [], [], []

  def before(phase: str) -> Callable[[Callable, tuple, dict], Any]:
    def call(function, arguments, named):
      stop.reach(phase)
      return function(*arguments, **named)

    return call

  def around_save(function, arguments, named):
    stop.reach(BEFORE_SAVE)
    path = function(*arguments, **named)
    if not stop.is_next(REPLACING):
      return path
    replaced.append(path)
    # What is made from it would keep it.
    return function(*arguments, **{**named, "all_rows": True})

  def around_last_save(function, arguments, named):
    last.append(True)
    result = function(*arguments, **named)
    stop.reach(AFTER_LAST_SAVE)
    return result

  def around_mark(function, arguments, named):
    if not named["final"]:
      return function(*arguments, **named)
    stop.reach(BEFORE_END)
    result = function(*arguments, **named)
    stop.reach(AFTER_END)
    return result

  def around_manifest(function, arguments, named):
    stop.reach(BEFORE_MANIFEST)
    if last:
      stop.reach(IN_LAST_SAVE)
    result = function(*arguments, **named)
    stop.reach(AFTER_MANIFEST)
    return result

  def around_removal(function, arguments, named):
    if arguments[0] in replaced:
      stop.reach(REPLACING)
    removing.append(True)
    try:
      return function(*arguments, **named)
    finally:
      removing.pop()

  def around_rmtree(function, arguments, named):
    if removing:
      stop.reach(HALF_REMOVED)
    return function(*arguments, **named)

  _wrap(checkpointer.Checkpointer, "save", around_save)
  _wrap(job_saves.JobSaves, "save_last", around_last_save)
  _wrap(dense_variables.DenseVariables, "save", before(BEFORE_DENSE))
  _wrap(checkpoint, "write_manifest", around_manifest)
  _wrap(checkpoint, "mark", around_mark)
  _wrap(checkpoint, "remove", around_removal)
  _wrap(tf.io.gfile, "rmtree", around_rmtree)


def _wrap(owner: Any, name: str, call: Callable[[Callable, tuple, dict], Any]) -> None:
  """Puts `call(function, arguments, named)` in place of a function.

  Raises:
    AttributeError: there is none of that name any more.
  """
  function = getattr(owner, name)

  @functools.wraps(function)
  def wrapped(*arguments, **named):
    return call(function, arguments, named)

  setattr(owner, name, wrapped)
