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


@contextlib.contextmanager
def beating(model_dir: str) -> Iterator[None]:
  """Beats from a thread of its own until the block is left, for whatever reason."""
  path = os.path.join(model_dir, _FILE)
  stop = threading.Event()

  def beat() -> None:
    while True:
      try:
        with tf.io.gfile.GFile(path, "w") as file:
          file.write(f"{os.getpid()} {time.time():.3f}\n")
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
    content = None
    with contextlib.suppress(tf.errors.OpError):
      with tf.io.gfile.GFile(self._path) as file:
        content = file.read()
    if content and content != self._content:
      self._content = content
      self._changed = time.monotonic()
    return time.monotonic() - self._changed
