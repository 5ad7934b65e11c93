"""How far the streams of a job are trained on: offsets that are part of checkpoints.

A worker writes several times a second how far its streams are trained on, and the chief
also when a checkpoint is begun: up to the last step that is done on all servers. What
all workers have written, the furthest of each partition, is where training is: a worker
begins there, for the first time, after a crash, and with a partition that it gets from
another.

Offsets are committed to the brokers for whoever looks there, and for a job that begins
without checkpoint, when a checkpoint that covers them is complete. A job that goes back
to an earlier checkpoint reads again what was committed since.
"""

import concurrent.futures
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.data.kafka import stream_ledger, stream_offsets
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_offsets import Offsets
from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.checkpoints import dense_variables
from monolith.native_training.training.positions.timeline import Timeline
from monolith.native_training.training.processes.cluster import Cluster

_VARIABLE = "monolith_stream_offsets"
# A member of the group that was killed is one for 10 s by default.
_LAST_COMMIT_SECS = 15.0
# Who asks a process to leave may kill it after 30 s, in which it saves before this.
_ANSWER_SECS = 5.0
_WRITE_SECS = 0.25
_NOTICE_SECS = 60.0


class StreamPositions:
  """The offsets of all workers of a job, in the default graph.

  They are a global variable beside the global step, string `[num_workers + 2]`: of each
  worker what it wrote last, then where the job began or was restored, and last what
  came too late to count.

  Args:
    streams: those that this worker reads.
    may_end_early: the dataset may end before all that the streams have read has come
      out of it.
    check: called again and again while brokers are waited for; ends that by what it
      raises.

  Raises:
    ValueError: a stream cannot be read by so many workers.
  """

  def __init__(
    self,
    cluster: Cluster,
    timeline: Timeline,
    streams: Sequence[KafkaStream],
    may_end_early: bool = False,
    check: Callable[[], object] = lambda: None,
  ):
    for stream in streams:
      stream.check_workers(cluster.num_workers)
    self.streams = streams
    self._timeline = timeline
    self._may_end_early = may_end_early
    if may_end_early:
      for stream in streams:
        stream.holds_rest = self._has_rest
    self._check = check
    self._index = cluster.worker_index
    self._length = cluster.num_workers + 2
    with tf.device(None), tf.device(timeline.device):
      self._variable = tf.compat.v1.get_variable(
        _VARIABLE,
        [self._length],
        tf.string,
        tf.compat.v1.constant_initializer(""),
        trainable=False,
        use_resource=True,
      )
      self._value = self._variable.read_value()
    tf.compat.v1.add_to_collection(
      dense_variables.OF_THE_JOB, dense_variables.JobVariable(self._variable, self._fit)
    )
    self._new_offsets = tf.compat.v1.placeholder(tf.string, [])
    with tf.device(timeline.device):
      self._write = tf.raw_ops.ResourceScatterUpdate(
        resource=self._variable.handle,
        indices=tf.where(timeline.is_present(), self._index, self._length - 1),
        updates=self._new_offsets,
      )
      self._write_base = tf.raw_ops.ResourceScatterUpdate(
        resource=self._variable.handle,
        indices=self._length - 2,
        updates=self._new_offsets,
      )
    self._trained: list[np.ndarray] = []  # Positions not noted yet.
    self._is_any_trained = False
    self._written: Offsets = {}
    self._write_at = 0.0
    self._covered: Offsets = {}

  def _fit(self, value: np.ndarray) -> np.ndarray:
    """A checkpoint's value for this job, which may have another number of workers."""
    fitting = np.full([self._length], b"", object)
    fitting[-2] = stream_offsets.encode(_merged(value))
    return fitting

  def read(self, session: tf.compat.v1.Session) -> Offsets:
    """Where training is."""
    return _merged(session.run(self._value))

  def begin_job(self, session: tf.compat.v1.Session) -> None:
    """Notes where the job begins to read what it has not read before, so that whoever
    goes on with one of its checkpoints begins there, whatever is committed by then.
    Chief only, when the model is new or restored."""
    offsets = self.read(session)
    first = [stream.first_offsets(offsets, self._check) for stream in self.streams]
    first = stream_offsets.merge(first)
    # What is known already counts, also where it is behind what was committed since.
    encoded = stream_offsets.encode({**first, **offsets})
    session.run(self._write_base, {self._new_offsets: encoded})

  def begin(self, session: tf.compat.v1.Session) -> None:
    """Has the streams begin where training is, in a new session."""
    offsets = self.read(session)
    groups = {stream.group for stream in self.streams}
    trained = {
      p: o for p, o in offsets.items() if o and p.is_real and p.group in groups
    }
    if trained:
      progress_log.info(
        "the streams go on at %s",
        ", ".join(
          f"{p.topic} {p.partition}: {o:,}" for p, o in sorted(trained.items())
        ),
      )
    self._trained = []
    self._written = {}
    for stream in self.streams:
      stream.begin(offsets)
    self.begin_round()

  def begin_round(self) -> None:
    """Before the dataset is read from its beginning."""
    ended = threading.Event()
    for stream in self.streams:
      stream.begin_round(ended)

  @property
  def is_over(self) -> bool:
    return all(stream.is_over for stream in self.streams)

  def refresh(self, session: tf.compat.v1.Session) -> None:
    """Tells the streams where training is, and the brokers, once more, what they have
    not answered yet."""
    offsets = self.read(session)
    for stream in self.streams:
      stream.know(offsets)
      stream.commit({})

  def step_done(self, session: tf.compat.v1.Session, positions: np.ndarray) -> None:
    """Notes a batch whose step is done on all servers.

    Args:
      session: in which it was done.
      positions: int64 `[n]`, of its messages.

    Raises:
      ValueError: they are not in the order in which they were read.
    """
    self._trained.append(positions)
    self._is_any_trained = True
    if time.monotonic() >= self._write_at:
      self.write(session)

  def end_round(self, session: tf.compat.v1.Session) -> bool:
    """Writes how far the streams are trained on when their dataset is at its end.

    Returns:
      Whether there is more to come; False also where `input_fn` has ended the dataset.
    """
    self._note()
    drained = [stream for stream in self.streams if stream.is_drained]
    if not self._may_end_early:
      self._pass_rest(drained)
    for stream in drained:
      stream.pass_ends()
    self.write(session)
    # One that is not drained waits for another.
    is_more_to_come = any(not stream.is_over for stream in drained)
    if self._may_end_early and not is_more_to_come and self._has_rest():
      logging.warning(
        "the dataset of input_fn has ended before %s messages that this worker has "
        "read; other workers train on them, or a job that goes on with the "
        "checkpoint%s",
        f"{self._rest():,}",
        ". Streams that are zipped need their messages on the same worker"
        if len(self.streams) > 1
        else "",
      )
    return is_more_to_come

  def _has_rest(self) -> bool:
    return self._rest() > 0

  def _rest(self) -> int:
    return sum(stream.rest for stream in self.streams)

  def _pass_rest(self, drained: Sequence[KafkaStream]) -> None:
    left_out = sum(stream.pass_rest() for stream in drained)
    if left_out and not self._is_any_trained:
      logging.log_every_n_seconds(
        logging.WARNING,
        "input_fn has left out all messages so far, the last %s of which count as "
        "trained on; in a graph a condition is tf.equal(a, b), not a == b",
        _NOTICE_SECS,
        f"{left_out:,}",
      )

  def _note(self) -> None:
    if self._trained:
      positions, self._trained = np.concatenate(self._trained), []
      stream_ledger.take(positions)

  def write(self, session: tf.compat.v1.Session) -> None:
    """Writes how far this worker's streams are trained on."""
    self._write_at = time.monotonic() + _WRITE_SECS
    self._note()
    offsets = stream_offsets.merge(stream.trained() for stream in self.streams)
    if offsets and offsets != self._written:
      session.run(self._write, {self._new_offsets: stream_offsets.encode(offsets)})
      self._written = offsets

  def saved(self, offsets: Offsets) -> None:
    """Has the brokers told what a checkpoint covers. Chief only."""
    self._covered = offsets
    for stream in self.streams:
      stream.commit(offsets)

  def is_saved(self, session: tf.compat.v1.Session) -> bool:
    """Whether the last checkpoint covers all that is trained. Chief only."""
    return self._covered == self.read(session)

  def commit_last(self, is_asked_to_leave: bool = False) -> None:
    """Makes sure that the brokers know what the last checkpoint covers, or gives up
    after 15 s, however many streams there are. For a chief that leaves.

    Args:
      is_asked_to_leave: brokers that do not answer at all are given up after 5 s.
    """
    begin = time.monotonic()
    deadline = begin + _LAST_COMMIT_SECS
    answer_by = begin + _ANSWER_SECS if is_asked_to_leave else deadline

    def commit(stream: KafkaStream) -> None:
      try:
        stream.commit_last(self._covered, deadline, answer_by)
      except StreamFailed as error:
        logging.warning(
          "the offsets of the last checkpoint could not be committed to the brokers "
          "(%s); a job that goes on with the checkpoint does not need them",
          error,
        )

    # At once: each may have to wait for brokers of its own.
    with concurrent.futures.ThreadPoolExecutor(len(self.streams)) as threads:
      list(threads.map(commit, self.streams))

  def close(self) -> None:
    """Leaves the consumer groups."""
    for stream in self.streams:
      stream.close()


def of_checkpoint(path: str) -> Offsets:
  """Where training is by a checkpoint, whose path has no suffix."""
  return _merged(tf.train.load_variable(path, _VARIABLE))


def _merged(value: np.ndarray) -> Offsets:
  """Where training is, of the variable's value; what came too late does not count."""
  return stream_offsets.merge(map(stream_offsets.decode, value[:-1]))
