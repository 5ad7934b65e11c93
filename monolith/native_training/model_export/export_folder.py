"""The folder of a model's exports, which are its numbered folders.

An export is written aside, in a folder `.tmp-SECONDS-MACHINE-PROCESS-NAME`, and renamed
to its number, the time in seconds, when it is complete. Any number of processes may
export into a folder.
"""

import contextlib
import itertools
import os
import re
import time
import uuid
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from monolith.native_training.local_files import process_names
from monolith.native_training.model_export import numbered_exports

_TEMPORARY = re.compile(
  r"\.tmp-(?P<began>\d+)(-(?P<machine>\w+)-(?P<process>\d+))?(-\w+)?"
)
# What has been written for longer is what is left of it, of whatever machine.
_ABANDONED_SECS = 24 * 3600
_FAILURES = (OSError, tf.errors.OpError)


def write(base: str, export: Callable[[str], object]) -> str:
  """Adds an export to a folder.

  Args:
    base: the folder; it is made if it is missing.
    export: writes to the path that it is given, which is not there yet.

  Returns:
    The path of the export. Its number is the time, or, where there is a larger one,
    beyond that: the newest export has the largest number, whatever a clock says.
  """
  temporary = _temporary(base)
  try:
    export(temporary)
    _flush(temporary)
    return _publish(temporary, base)
  except BaseException:
    if tf.io.gfile.exists(temporary):
      tf.io.gfile.rmtree(temporary)
    raise


def keep_newest(base: str, count: int) -> None:
  """Removes all exports of a folder but the newest, and what is left of those that
  were interrupted. What cannot be removed is left, which the log says."""
  exports = [
    number
    for number in numbered_exports.numbers(base)
    if _is_export(os.path.join(base, str(number)))
  ]
  for number in exports[:-count]:
    path, temporary = os.path.join(base, str(number)), _temporary(base)
    with _logged(path):
      # First, so that nobody loads half of it.
      tf.io.gfile.rename(path, temporary)
      tf.io.gfile.rmtree(temporary)
  for name in numbered_exports.names(base):
    if _was_abandoned(name):
      with _logged(os.path.join(base, name)):
        tf.io.gfile.rmtree(os.path.join(base, name))


def _temporary(base: str) -> str:
  process = f"{process_names.machine()}-{os.getpid()}"
  name = f".tmp-{int(time.time())}-{process}-{uuid.uuid4().hex}"
  return os.path.join(base, name)


def _publish(temporary: str, base: str) -> str:
  newest = max(numbered_exports.numbers(base), default=0)
  for number in itertools.count(max(int(time.time()), newest + 1)):
    path = os.path.join(base, str(number))
    if tf.io.gfile.exists(path):
      continue
    try:
      tf.io.gfile.rename(temporary, path)
    except tf.errors.OpError:
      # Another process may have been faster.
      if tf.io.gfile.exists(path) and tf.io.gfile.exists(temporary):
        continue
      raise
    if _is_local(base):
      _fsync(base)
    return path
  raise AssertionError("there are more numbers")


def _is_export(path: str) -> bool:
  return numbered_exports.is_model(path) or numbered_exports.is_distributed(path)


def _was_abandoned(name: str) -> bool:
  parts = _TEMPORARY.fullmatch(name)
  if parts is None:
    return False
  if int(parts["began"]) < time.time() - _ABANDONED_SECS:
    return True
  machine, process = parts["machine"], parts["process"]
  return machine is not None and process_names.is_gone(machine, int(process))


def _is_local(path: str) -> bool:
  return "://" not in path


def _flush(folder: str) -> None:
  """Has what was written survive a crash of the machine; elsewhere than on this one
  that is the storage's matter."""
  if not _is_local(folder):
    return
  for path, _, names in os.walk(folder, topdown=False):
    for name in names:
      _fsync(os.path.join(path, name))
    _fsync(path)


def _fsync(path: str) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


@contextlib.contextmanager
def _logged(path: str):
  try:
    yield
  except tf.errors.NotFoundError:
    pass  # Another process has removed it.
  except _FAILURES as error:
    logging.warning("%s cannot be removed: %s", path, error)
