"""What a parameter server's main thread does: it stays until it may leave."""

import contextlib
import threading
import time
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from monolith.native_training.training.processes import chief_words, coordination
from monolith.native_training.training.processes.chief_words import Word
from monolith.native_training.training.processes.closable_session import (
  ClosableSession,
  sees_only,
)
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.stop_request import StopRequest

_POLL_SECS = 0.2
_END_SECS = 5.0
_LOOK_SECS = 5.0
# A chief that trains on where a job has ended is there by then.
_NEXT_CHIEF_SECS = 60.0


def serve_until_released(
  cluster: Cluster,
  target: str,
  timeout_secs: float,
  stop: StopRequest | None = None,
  grace_secs: float = 25.0,
  is_over: Callable[[], bool] = lambda: False,
) -> None:
  """Keeps a parameter server up until the chief says that the job is over.

  Args:
    stop: when it is made the server asks the chief to save, and leaves when that is
      done or the chief leaves.
    grace_secs: after that, if the chief does neither; a save that is running is waited
      for as long as the chief lives.
    is_over: whether the job has ended, as `model_dir` tells. A server that was started
      again while the chief ended the job hears nothing of it any more.

  Raises:
    SystemExit: it was asked to leave, and the job goes on.
    TimeoutError: the chief has said nothing for `timeout_secs`.
    tf.errors.OpError: the server itself broke down.
  """
  end = _UnheardEnd(is_over)
  chief = _Chief(cluster, target)
  chief.start()
  asking = threading.Thread(target=_ask_to_save, args=(cluster, target), daemon=True)
  try:
    stop = stop or StopRequest()
    _serve(cluster, chief, asking, timeout_secs, stop, grace_secs, end)
  finally:
    # A thread that comes back from TensorFlow while the interpreter is taken down would
    # abort the process, whatever its exit code was to be.
    if asking.ident:
      asking.join(_END_SECS)
    chief.stop()


def _serve(
  cluster: Cluster,
  chief: "_Chief",
  asking: threading.Thread,
  timeout_secs: float,
  stop: StopRequest,
  grace_secs: float,
  end: "_UnheardEnd",
) -> None:
  """Does what `serve_until_released` does.

  Args:
    asking: asks the chief to save, when it is started.
  """
  name = f"parameter server {cluster.task_index}"
  leave_at = None
  # Signals are handled between the joins of the main thread, not inside a session.
  while chief.is_alive():
    chief.join(_POLL_SECS)
    now = time.monotonic()
    if stop.is_made():
      if leave_at is None:
        leave_at = now + grace_secs
        asking.start()
      if chief.lets_leave:
        stop.leave(f"{name} leaves; the chief has saved")
      if chief.has_left:
        stop.leave(f"{name} leaves after the chief")
      if chief.is_saving:
        leave_at = max(leave_at, chief.heard + grace_secs)
      if now > leave_at:
        stop.leave(
          f"{name} leaves; the chief has neither saved nor left within {grace_secs:g} s"
        )
    if now - chief.heard >= _NEXT_CHIEF_SECS and end.has_come():
      logging.warning("%s leaves: the job has ended without it", name)
      return
    if now - chief.heard > timeout_secs:
      if end.is_over():
        logging.warning("%s leaves: the job has ended before it began", name)
        return
      raise TimeoutError(
        f"the chief has not been heard of for {timeout_secs:.0f} s; {name} leaves"
      )
  if chief.failure:
    raise chief.failure


class _UnheardEnd:
  """The end of a job of which this server was not told.

  Args:
    is_over: see `serve_until_released`.
  """

  def __init__(self, is_over: Callable[[], bool]):
    self.is_over = is_over
    # Of an earlier job, which this one goes on with.
    self._was_over = is_over()
    self._since: float | None = None
    self._look_at = 0.0

  def has_come(self) -> bool:
    """Whether the job has ended since this server began, and no chief has come since to
    train on."""
    now = time.monotonic()
    if now >= self._look_at:
      self._look_at = now + _LOOK_SECS
      is_over = self.is_over()
      self._was_over = self._was_over and is_over
      if not is_over or self._was_over:
        self._since = None
      elif self._since is None:
        self._since = now
    return self._since is not None and now - self._since >= _NEXT_CHIEF_SECS


class _Chief(threading.Thread):
  """The thread that listens to the chief, until the job is over.

  Attributes:
    has_left: whether it left before the job is over.
    is_saving: whether it writes a checkpoint.
    lets_leave: whether it has saved for this server.
    heard: when it last said anything, by `time.monotonic`; before, when this began.
    failure: why it is listened to no more, though the job is not over.
  """

  def __init__(self, cluster: Cluster, target: str):
    super().__init__(daemon=True)
    self._target = target
    self._config = sees_only(cluster.worker_device)
    with tf.Graph().as_default() as self._graph:
      self._word = chief_words.queue(cluster.ps_devices[cluster.task_index]).dequeue()
    self.has_left = self.is_saving = self.lets_leave = False
    self.heard = time.monotonic()
    self.failure: tf.errors.OpError | None = None
    self._session: tf.compat.v1.Session | None = None

  def stop(self) -> None:
    """Ends the thread, also where it waits for a word."""
    if self.is_alive() and self._session:
      self._session.close()
    self.join(_END_SECS)

  def run(self) -> None:
    try:
      with ClosableSession(
        self._target, graph=self._graph, config=self._config
      ) as session:
        self._session = session
        while (word := Word(int(session.run(self._word)))) != Word.IS_OVER:
          self._hear(word)
    except tf.errors.OpError as error:
      self.failure = error
    except RuntimeError:
      pass  # `stop` has closed the session between two words.

  def _hear(self, word: Word) -> None:
    self.heard = time.monotonic()
    self.has_left = word == Word.CHIEF_LEAVES
    if word != Word.GOES_ON:
      self.is_saving = word == Word.SAVES
    if word == Word.MAY_LEAVE:
      self.lets_leave = True


def _ask_to_save(cluster: Cluster, target: str) -> None:
  """Tells the chief that this server was asked to leave. Where the first server is gone
  it waits for that."""
  with tf.Graph().as_default() as graph:
    put = coordination.server_report(cluster)
  config = sees_only("/job:ps/task:0", cluster.worker_device)
  with contextlib.suppress(tf.errors.OpError):
    with ClosableSession(target, graph=graph, config=config) as session:
      session.run(put)
