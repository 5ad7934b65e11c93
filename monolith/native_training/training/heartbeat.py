"""The chief's sign of life to an evaluator, which has no connection to the job: a file
in `model_dir` that the chief rewrites again and again while it trains."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

_FILE = "chief.alive"
_BEAT_SECS = 5.0
_LOOK_SECS = 0.2


@contextlib.contextmanager
def beating(model_dir: str, job: str) -> Iterator[None]:
  """Beats from a thread of its own until the block is left, for whatever reason.

  Args:
    job: names the job, to other chiefs that are given the same folder.

  Raises:
    RuntimeError: another job's chief lives.
  """
  path = os.path.join(model_dir, _FILE)
  stop = threading.Event()
  _check_alone(path, job)

  def beat() -> None:
    while True:
      try:
        with tf.io.gfile.GFile(path, "w") as file:
          file.write(f"{os.getpid()} {time.time():.3f} {job}\n")
      except tf.errors.OpError as error:
        # Storage that is full or away must not end the training.
        logging.warning("cannot write %s: %s", path, error.message)
      if stop.wait(_BEAT_SECS):
        return

  tf.io.gfile.makedirs(model_dir)
  thread = threading.Thread(target=beat, daemon=True)
  thread.start()
  try:
    yield
  finally:
    stop.set()
    thread.join()
    with contextlib.suppress(tf.errors.OpError):
      tf.io.gfile.remove(path)


def _check_alone(path: str, job: str) -> None:
  """A chief that was killed has left its file behind, which changes no more."""
  content = _read(path)
  if not content or content.split()[-1] == job:
    return
  logging.warning("looking whether the chief of another job lives, as %s says", path)
  give_up = time.monotonic() + 2 * _BEAT_SECS + 1
  while time.monotonic() < give_up:
    time.sleep(_LOOK_SECS)
    now = _read(path)
    if not now:
      return
    if now != content:
      raise RuntimeError(
        f"another job trains in the same model_dir: its chief, process "
        f"{now.split()[0]} of its machine, is alive, as {path} shows. Two jobs would "
        "spoil each other's checkpoints; end one of them, or give it another model_dir"
      )


def _read(path: str) -> str:
  with contextlib.suppress(tf.errors.OpError):
    with tf.io.gfile.GFile(path) as file:
      return file.read()
  return ""


class HeartbeatWatch:
  """Tells for how long a chief has given no sign of life.

  Looks at whether the file's content changes, so that clocks of two machines need not
  agree.
  """

  def __init__(self, model_dir: str):
    self._path = os.path.join(model_dir, _FILE)
    self._content: str | None = None
    self._changed = time.monotonic()

  def silent_secs(self) -> float:
    """Seconds since the sign was last seen to change, or since this watch began."""
    content = _read(self._path)
    if content and content != self._content:
      self._content = content
      self._changed = time.monotonic()
    return time.monotonic() - self._changed
