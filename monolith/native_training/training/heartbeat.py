"""The chief's sign of life to those who have no connection to the job, the evaluator
and later chiefs: a file in `model_dir` that it rewrites again and again."""

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
_ENDS = "ends"


class Heartbeat:
  """Beats from a thread of its own. The file has the process, the time, the job, and
  whether that ends.

  Attributes:
    was_ending: whether an earlier chief of the same job has left the file behind when
      the job came to its end, which it has then seen nearly all of.
  """

  def __init__(self, path: str, job: str, was_ending: bool):
    self.was_ending = was_ending
    self._path = path
    self._words = job
    self._lock = threading.Lock()
    self._stop = threading.Event()
    self._thread = threading.Thread(target=self._beat_on, daemon=True)
    self._thread.start()

  def job_ends(self) -> None:
    """Notes that nothing is left but to let everybody leave."""
    self._words += f" {_ENDS}"
    self._beat()

  def stop(self) -> None:
    self._stop.set()
    self._thread.join()
    with contextlib.suppress(tf.errors.OpError):
      tf.io.gfile.remove(self._path)

  def _beat_on(self) -> None:
    self._beat()
    while not self._stop.wait(_BEAT_SECS):
      self._beat()

  def _beat(self) -> None:
    with self._lock:
      try:
        with tf.io.gfile.GFile(self._path, "w") as file:
          file.write(f"{os.getpid()} {time.time():.3f} {self._words}\n")
      except tf.errors.OpError as error:
        # Storage that is full or away must not end the training.
        logging.warning("cannot write %s: %s", self._path, error.message)


@contextlib.contextmanager
def beating(model_dir: str, job: str) -> Iterator[Heartbeat]:
  """Beats until the block is left, for whatever reason.

  Args:
    job: names the job, to other chiefs that are given the same folder.

  Raises:
    RuntimeError: another job's chief lives.
  """
  path = os.path.join(model_dir, _FILE)
  left_behind = _check_alone(path, job)
  tf.io.gfile.makedirs(model_dir)
  heartbeat = Heartbeat(path, job, was_ending=left_behind == [job, _ENDS])
  try:
    yield heartbeat
  finally:
    heartbeat.stop()


def _check_alone(path: str, job: str) -> list[str]:
  """Waits until it is certain that no other job's chief lives: one that was killed has
  left a file behind that changes no more. Returns what that says of its job."""
  content = _read(path)
  words = content.split()[2:]
  if not words or words[0] == job:
    return words
  logging.warning("looking whether the chief of another job lives, as %s says", path)
  give_up = time.monotonic() + 2 * _BEAT_SECS + 1
  while time.monotonic() < give_up:
    time.sleep(_LOOK_SECS)
    now = _read(path)
    if now and now != content:
      raise RuntimeError(
        f"another job trains in the same model_dir: its chief, process "
        f"{now.split()[0]} of its machine, is alive, as {path} shows. Two jobs would "
        "spoil each other's checkpoints; end one of them, or give it another model_dir"
      )
  return words


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
