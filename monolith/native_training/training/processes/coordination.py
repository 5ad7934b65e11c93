"""How the processes of a job learn from each other that it is over.

Workers report to a queue on the first server; the chief reads it. The chief has a queue
on each server (`chief_words`), where it says again and again that the job goes on
(`server_watch` does that), and at last, when all workers are done and it has saved,
that it is over; or that it leaves before. A server that hears nothing for long leaves
with an error. One that was asked to leave reports that as workers report, and leaves
when the chief has saved (`serving`). Workers
that are done say so again and again, because the chief may have been restarted, and
wait for a variable on the first server, which the chief initializes when it has saved.
One that fails says why; the chief waits for a while whether it is started again.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf
from absl import logging

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.processes import chief_words
from monolith.native_training.training.processes.chief_words import Word
from monolith.native_training.training.processes.closable_session import (
  ClosableSession,
  sees_only,
)
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.server_question import SERVER_IS_AWAY
from monolith.native_training.training.processes.stop_request import StopRequest

_POLL_SECS = 0.2
_NOTICE_SECS = 10
_REPORTS = "monolith_reports"
_GOODBYE = -1  # In place of examples: the worker leaves.
_GOODBYE_SECS = 5.0
# A failure is told once, in a session of its own, which a busy machine begins slowly.
_REPORT_FAILURE_SECS = 15.0
_LONGEST_REASON = 1000  # Characters.
_CAPACITY = 1 << 20  # Reports wait here while the chief is away.
_SAY_AGAIN_SECS = 1.0
# A worker that has failed comes back within that, or nobody starts it again.
_COMES_BACK_SECS = 60.0
# What was said before training went back may be on its way for so long.
_OUTDATED_SECS = 3.0


def question(cluster: Cluster, server: int) -> tf.Operation:
  """An op that a server answers at once. The chief's also tells it that the job goes
  on."""
  device = cluster.ps_devices[server]
  if cluster.is_chief:
    return chief_words.say(Word.GOES_ON, device)
  return chief_words.queue(device).size().op


def _reports_queue(cluster: Cluster) -> tf.queue.FIFOQueue:
  """The words to the chief: worker, examples, whether it is done, and why it failed if
  it did. The servers are numbered after the workers."""
  with tf.device(cluster.ps_devices[0]):
    return tf.queue.FIFOQueue(
      _CAPACITY,
      [tf.int64, tf.int64, tf.bool, tf.string],
      [[], [], [], []],
      shared_name=_REPORTS,
    )


def server_report(cluster: Cluster) -> tf.Operation:
  """An op that tells the chief that this server was asked to leave."""
  index = tf.constant(cluster.num_workers + cluster.task_index, tf.int64)
  return _reports_queue(cluster).enqueue((index, tf.constant(0, tf.int64), False, ""))


def report_failure(cluster: Cluster, target: str, error: Exception) -> None:
  """Tells the chief why this worker leaves before it is done, if it can be told."""
  reason = f"{cluster.task_type} {cluster.task_index} failed: {type(error).__name__}: "
  reason += str(error)[:_LONGEST_REASON]
  with tf.Graph().as_default() as graph:
    report = (tf.constant(cluster.worker_index, tf.int64), tf.int64.min, False, reason)
    put = _reports_queue(cluster).enqueue(report)
  config = sees_only("/job:ps/task:0", cluster.worker_device)

  def tell() -> None:
    with contextlib.suppress(tf.errors.OpError):
      with ClosableSession(target, graph=graph, config=config) as session:
        session.run(put)

  # Where the server is gone, a session waits for it whatever timeout it has.
  telling = threading.Thread(target=tell, daemon=True)
  telling.start()
  telling.join(_REPORT_FAILURE_SECS)


class JobReports:
  """The queues as ops of a worker's graph.

  Args:
    timeout_secs: how long the chief waits without a report of a worker before it gives
      the worker up.
    stop: ends waiting.
  """

  def __init__(
    self, cluster: Cluster, timeout_secs: float, stop: StopRequest | None = None
  ):
    self._stop = stop or StopRequest()
    self._done_counts_from = 0.0
    self._cluster = cluster
    self._timeout_secs = timeout_secs
    self._examples = [0] * cluster.num_workers
    self._done = [False] * cluster.num_workers
    self._last_report = [time.monotonic()] * cluster.num_workers
    self._gone: set[int] = set()
    self._failures: dict[int, str] = {}
    self._failed_at: dict[int, float] = {}
    with tf.device(cluster.ps_devices[0]):
      queue = _reports_queue(cluster)
      self._size = queue.size()
      self._count = tf.compat.v1.placeholder(tf.int32, [])
      self._take = queue.dequeue_many(self._count)
      # No global variable: it is the job's, not the model's.
      saved = tf.compat.v1.Variable(
        True,
        trainable=False,
        collections=[],
        use_resource=True,
        name="monolith_job_is_saved",
      )
    self._say_saved = saved.initializer
    self._is_saved = saved.is_initialized()
    self._report_examples = tf.compat.v1.placeholder(tf.int64, [])
    self._report_done = tf.compat.v1.placeholder(tf.bool, [])
    index = tf.constant(cluster.worker_index, tf.int64)
    self._put = queue.enqueue((index, self._report_examples, self._report_done, ""))
    self._words = {
      word: [chief_words.say(word, device) for device in cluster.ps_devices]
      for word in Word
    }
    self._leaving: set[int] = set()

  def report(
    self, session: tf.compat.v1.Session, examples: int, done: bool = False
  ) -> None:
    """Tells the chief how many examples this worker has trained on, in all; the chief
    also reads what others reported."""
    session.run(self._put, {self._report_examples: examples, self._report_done: done})
    if self._cluster.is_chief:
      self.job_examples(session)

  def job_examples(self, session: tf.compat.v1.Session) -> int:
    """Examples that all workers have reported. Chief only."""
    waiting = session.run(self._size)
    if waiting:
      taken = session.run(self._take, {self._count: waiting})
      for worker, examples, done, failure in zip(*taken, strict=True):
        if worker >= self._cluster.num_workers:
          server = int(worker) - self._cluster.num_workers
          logging.warning("parameter server %d leaves when this is saved", server)
          self._leaving.add(server)
          continue
        self._last_report[worker] = time.monotonic()
        if examples == _GOODBYE:
          self._gone.add(int(worker))
          continue
        if failure:
          self._failures[int(worker)] = failure.decode(errors="replace")
          self._failed_at.setdefault(int(worker), time.monotonic())
          logging.warning("%s", self._failures[worker])
          continue
        self._failures.pop(int(worker), None)
        self._failed_at.pop(int(worker), None)
        # A restarted worker counts from 0 again, and is not done until it says so.
        self._examples[worker] = int(examples)
        self._done[worker] = done and time.monotonic() >= self._done_counts_from
    return sum(self._examples)

  def training_went_back(self) -> None:
    """Forgets which workers are done: they have to train on. Chief only."""
    self._done = [False] * len(self._done)
    self._done_counts_from = time.monotonic() + _OUTDATED_SECS

  def is_saved(self, session: tf.compat.v1.Session) -> bool:
    """Whether a chief has ended the job, which another may have been before."""
    return bool(session.run(self._is_saved))

  def wait_for_workers(
    self,
    session: tf.compat.v1.Session,
    check: Callable[[], None] = lambda: None,
    is_work_left: Callable[[], bool] = lambda: True,
  ) -> bool:
    """Returns when every other worker is done, has not come back within a minute after
    it failed, or has not reported for the timeout. For a chief that is done.

    Args:
      check: called again and again; ends the waiting by what it raises.
      is_work_left: whether a worker that is not done leaves work which nobody else
        does: then one that was given up has failed.

    Returns:
      False where this process was asked to leave before.
    """
    notice = time.monotonic() + _NOTICE_SECS
    begin = time.monotonic()
    while True:
      if self._stop.is_made():
        return False
      check()
      self.job_examples(session)
      missing = [
        i
        for i, done in enumerate(self._done)
        if not done and i != self._cluster.worker_index
      ]
      now = time.monotonic()
      if all(self._is_given_up(i, begin, now) for i in missing):
        break
      if now > notice:
        progress_log.info("waiting for worker %s", ", ".join(map(str, missing)))
        notice = now + _NOTICE_SECS
      time.sleep(_POLL_SECS)
    for i in missing:
      if i not in self._failures:
        reason = f"worker {i} has sent nothing for {self._timeout_secs:.0f} s"
        logging.warning("%s; finishing without it", reason)
        if is_work_left():
          self._failures[i], self._failed_at[i] = reason, now
    return True

  def _is_given_up(self, worker: int, begin: float, now: float) -> bool:
    """Whether a worker that is not done is waited for no longer."""
    if worker in self._failures:
      patience = min(_COMES_BACK_SECS, self._timeout_secs)
      return now - self._failed_at[worker] > patience
    return now - max(self._last_report[worker], begin) > self._timeout_secs

  def failures(self) -> list[str]:
    """Which workers have failed, or were given up with work left, and did not come
    back, and why. Chief only."""
    return list(self._failures.values())

  def end_job(self, session: tf.compat.v1.Session) -> None:
    """Says that the last checkpoint is there: workers leave. Chief only.

    Comes back when they are gone, or after a while, because a session whose servers are
    gone takes long to close.
    """
    session.run(self._say_saved)
    patience = time.monotonic() + _GOODBYE_SECS
    workers = {i for i, done in enumerate(self._done) if done}
    workers.discard(self._cluster.worker_index)
    while not workers <= self._gone and time.monotonic() < patience:
      time.sleep(_POLL_SECS / 4)
      self.job_examples(session)

  def release_servers(self, session: tf.compat.v1.Session) -> None:
    """Lets the servers leave, also where one of them is gone. Chief only."""
    _say_to_each(session, self._words[Word.IS_OVER])

  def say_leaving(self, session: tf.compat.v1.Session) -> None:
    """Tells the servers that the chief leaves before the job is over, also where one of
    them is gone. Chief only."""
    _say_to_each(session, self._words[Word.CHIEF_LEAVES])

  def keep_leaving(self, servers: frozenset[int]) -> None:
    """Notes that these still wait for a save."""
    self._leaving |= servers

  @property
  def has_leaving_servers(self) -> bool:
    """Whether a server waits for a save, to leave then. Chief only."""
    return bool(self._leaving)

  def take_leaving_servers(self) -> frozenset[int]:
    """The servers that have asked for a save since this was last called."""
    leaving, self._leaving = frozenset(self._leaving), set()
    return leaving

  def let_leave(self, session: tf.compat.v1.Session, servers: frozenset[int]) -> None:
    """Tells servers that what they had when they asked is saved. Chief only."""
    _say_at_last(session, [self._words[Word.MAY_LEAVE][i] for i in servers])

  @contextlib.contextmanager
  def saving(self, session: tf.compat.v1.Session) -> Iterator[None]:
    """A context in which servers that were asked to leave wait. Chief only, from any
    thread."""
    session.run(self._words[Word.SAVES])
    try:
      yield
    finally:
      with contextlib.suppress(tf.errors.OpError, RuntimeError):
        session.run(self._words[Word.SAVE_ENDED])

  def wait_for_chief(
    self,
    session: tf.compat.v1.Session,
    examples: int,
    is_still_done: Callable[[], bool] = lambda: True,
  ) -> bool:
    """Says that this worker is done, until the chief has ended the job. Not for the
    chief.

    Args:
      examples: how many this worker has trained on.
      is_still_done: False when training has gone back.

    Returns:
      True when the chief has ended the job; False where a server has left or was lost
      before this worker heard of it, training went back, or this process was asked to
      leave.
    """
    say_again = time.monotonic() + _SAY_AGAIN_SECS
    try:
      while not self.is_saved(session):
        if self._stop.is_made() or not is_still_done():
          return False
        if time.monotonic() >= say_again:
          say_again = time.monotonic() + _SAY_AGAIN_SECS
          self.report(session, examples, done=True)
        time.sleep(_POLL_SECS)
      return True
    except SERVER_IS_AWAY:
      return False

  def say_goodbye(self, session: tf.compat.v1.Session) -> None:
    """Says that this worker leaves. Not for the chief."""
    goodbye = {self._report_examples: _GOODBYE, self._report_done: True}
    _say_at_last(session, self._put, goodbye)


def _say_to_each(session: tf.compat.v1.Session, words: Sequence[tf.Operation]) -> None:
  """Runs words to several servers, each by itself: one that is gone holds up none."""
  saying = [
    threading.Thread(target=_say_at_last, args=(session, word), daemon=True)
    for word in words
  ]
  for thread in saying:
    thread.start()
  for thread in saying:
    thread.join(2 * _GOODBYE_SECS)


def _say_at_last(session: tf.compat.v1.Session, word, feed=None) -> None:
  """Runs what nobody waits for any more."""
  options = tf.compat.v1.RunOptions(timeout_in_ms=int(_GOODBYE_SECS * 1000))
  try:
    session.run(word, feed, options=options)
  except tf.errors.OpError as error:
    logging.warning("a server could not be told that it may leave: %s", error.message)
