"""How the processes of a job learn from each other that it is over.

Workers report to a queue on the first server; the chief reads it. When all workers are
done, and the chief has saved, it puts a word into a queue on each server, and the
servers leave.
"""

import threading
import time

import tensorflow as tf
from absl import logging

from monolith.native_training.training.cluster import Cluster

_POLL_SECS = 0.2
_NOTICE_SECS = 10
_CAPACITY = 1 << 20  # Reports wait here while the chief is away.


def _exit_queue(device: str) -> tf.queue.FIFOQueue:
  with tf.device(device):
    return tf.queue.FIFOQueue(16, [tf.int64], [[]], shared_name="monolith_exit")


class JobReports:
  """The queues as ops of a worker's graph.

  Args:
    timeout_secs: how long the chief waits without a report of a worker before it gives
      the worker up.
  """

  def __init__(self, cluster: Cluster, timeout_secs: float):
    self._cluster = cluster
    self._timeout_secs = timeout_secs
    self._examples = [0] * cluster.num_workers
    self._done = [False] * cluster.num_workers
    self._last_report = [time.monotonic()] * cluster.num_workers
    with tf.device(cluster.ps_devices[0]):
      queue = tf.queue.FIFOQueue(
        _CAPACITY,
        [tf.int64, tf.int64, tf.bool],
        [[], [], []],
        shared_name="monolith_reports",
      )
      self._size = queue.size()
      self._count = tf.compat.v1.placeholder(tf.int32, [])
      self._take = queue.dequeue_many(self._count)
    self._report_examples = tf.compat.v1.placeholder(tf.int64, [])
    self._report_done = tf.compat.v1.placeholder(tf.bool, [])
    index = tf.constant(cluster.worker_index, tf.int64)
    self._put = queue.enqueue((index, self._report_examples, self._report_done))
    self._tell_exit = [
      _exit_queue(device).enqueue((tf.constant(1, tf.int64),))
      for device in cluster.ps_devices
    ]

  def report(
    self, session: tf.compat.v1.Session, examples: int, done: bool = False
  ) -> None:
    """Tells the chief how many examples this worker has trained on, in all."""
    session.run(self._put, {self._report_examples: examples, self._report_done: done})

  def job_examples(self, session: tf.compat.v1.Session) -> int:
    """Examples that all workers have reported. Chief only."""
    waiting = session.run(self._size)
    if waiting:
      taken = session.run(self._take, {self._count: waiting})
      for worker, examples, done in zip(*taken, strict=True):
        self._last_report[worker] = time.monotonic()
        # A restarted worker counts from 0 again, and is not done until it says so.
        self._examples[worker] = int(examples)
        self._done[worker] = bool(done)
    return sum(self._examples)

  def wait_for_workers(self, session: tf.compat.v1.Session) -> None:
    """Returns when every worker is done, or has not reported for the timeout."""
    notice = time.monotonic() + _NOTICE_SECS
    begin = time.monotonic()
    while True:
      self.job_examples(session)
      now = time.monotonic()
      silent = [
        now - max(last, begin) > self._timeout_secs for last in self._last_report
      ]
      missing = [i for i, done in enumerate(self._done) if not done]
      if all(silent[i] for i in missing):
        break
      if now > notice:
        logging.info("waiting for worker %s", ", ".join(map(str, missing)))
        notice = now + _NOTICE_SECS
      time.sleep(_POLL_SECS)
    for i in missing:
      logging.warning(
        "worker %d has sent nothing for %.0f s; finishing without it",
        i,
        self._timeout_secs,
      )

  def release_servers(self, session: tf.compat.v1.Session) -> None:
    """Lets the servers leave."""
    session.run(self._tell_exit)


def serve_until_released(cluster: Cluster, target: str) -> None:
  """Keeps a parameter server up until the chief says that the job is over.

  Raises:
    tf.errors.OpError: the server itself broke down.
  """
  failures = []
  with tf.Graph().as_default() as graph:
    told = _exit_queue(cluster.ps_devices[cluster.task_index]).dequeue()
  config = tf.compat.v1.ConfigProto(device_filters=[cluster.worker_device])

  def wait() -> None:
    try:
      with tf.compat.v1.Session(target, graph=graph, config=config) as session:
        session.run(told)
    except tf.errors.OpError as error:
      failures.append(error)

  # Signals are handled between the joins of the main thread, not inside a session.
  waiting = threading.Thread(target=wait, daemon=True)
  waiting.start()
  while waiting.is_alive():
    waiting.join(_POLL_SECS)
  if failures:
    raise failures[0]
