"""How far the streams of a job are trained on: offsets that are part of checkpoints.

A worker writes how far its streams are read with a step when that step is done on all
servers, which it is when the next one begins: of a step that a worker has died in, some
servers may have their part and others not. What all workers have written, the furthest
of each partition, is where training is: a worker begins there, for the first time,
after a crash, and with a partition that it gets from another.

Offsets are committed to the brokers for whoever looks there, and for a job that begins
without checkpoint, when a checkpoint that covers them is complete. A job that goes back
to an earlier checkpoint reads again what was committed since.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import logging
from confluent_kafka import KafkaException

from monolith.native_training.data import stream_offsets
from monolith.native_training.data.kafka_stream import KafkaStream
from monolith.native_training.data.stream_offsets import BEGUN, Offsets
from monolith.native_training.training import dense_variables, progress_log
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.timeline import Timeline

# A member of the group that was killed is one for 10 s by default.
_LAST_COMMIT_SECS = 15.0


class StreamPositions:
  """The offsets of all workers of a job, in the default graph.

  They are a global variable beside the global step, string `[num_workers + 2]`: of each
  worker what it wrote last, then where the job began or was restored, and last what
  came too late to count.

  Args:
    streams: those that this worker reads.
    check: called again and again while brokers are waited for; ends that by what it
      raises.
  """

  def __init__(
    self,
    cluster: Cluster,
    timeline: Timeline,
    streams: Sequence[KafkaStream],
    check: Callable[[], object] = lambda: None,
  ):
    self.streams = streams
    self._timeline = timeline
    self._check = check
    self._index = cluster.worker_index
    self._length = cluster.num_workers + 2
    with tf.device(None), tf.device(timeline.device):
      self._variable = tf.compat.v1.get_variable(
        "monolith_stream_offsets",
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
    self._write_now = self.write(timeline.is_present())
    with tf.device(timeline.device):
      self._write_base = tf.raw_ops.ResourceScatterUpdate(
        resource=self._variable.handle,
        indices=self._length - 2,
        updates=self._new_offsets,
      )
    self._written: Offsets = {}
    self._of_last_step = b""  # Not written yet.
    self._covered: Offsets = {}

  def _fit(self, value: np.ndarray) -> np.ndarray:
    """A checkpoint's value for this job, which may have another number of workers."""
    merged = stream_offsets.merge(map(stream_offsets.decode, value))
    fitting = np.full([self._length], b"", object)
    fitting[-2] = stream_offsets.encode(merged)
    return fitting

  def write(self, is_present: tf.Tensor) -> tf.Operation:
    """Writes offsets of this worker's when it runs: those fed, see `hook`.

    Args:
      is_present: `Timeline.is_present`; where it is False what is written does not
        count.
    """
    offsets = self._new_offsets  # Encoded; empty ones do not count.
    with tf.device(self._timeline.device):
      counts = tf.logical_and(is_present, tf.strings.length(offsets) > 0)
      return tf.raw_ops.ResourceScatterUpdate(
        resource=self._variable.handle,
        indices=tf.where(counts, self._index, self._length - 1),
        updates=offsets,
      )

  def read(self, session: tf.compat.v1.Session) -> Offsets:
    """Where training is."""
    return stream_offsets.merge(
      map(stream_offsets.decode, session.run(self._value)[:-1])
    )

  def begin_job(self, session: tf.compat.v1.Session) -> None:
    """Notes where the job begins to read what it has not read before, so that whoever
    goes on with one of its checkpoints begins there, whatever is committed by then.
    Chief only, when the model is new or restored."""
    offsets = self.read(session)
    first = [stream.first_offsets(offsets, self._check) for stream in self.streams]
    # What is known already is further on.
    encoded = stream_offsets.encode(stream_offsets.merge([offsets, *first]))
    session.run(self._write_base, {self._new_offsets: encoded})

  def begin(self, session: tf.compat.v1.Session) -> None:
    """Has the streams begin where training is, in a new session."""
    offsets = self.read(session)
    if offsets:
      progress_log.info(
        "the streams go on where training was: %s",
        ", ".join(
          f"{p.topic} {p.partition}: {o:,}"
          for p, o in sorted(offsets.items())
          if p.partition != BEGUN
        ),
      )
    self._written = {}
    self._of_last_step = b""
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

  def hook(self, offsets: tf.Tensor) -> tf.compat.v1.train.SessionRunHook:
    """Goes around each step: has it write how far the one before it came.

    Args:
      offsets: string scalar, how far the streams are read with a step, encoded.
    """
    return _StepHook(self, offsets)

  def step_before(self) -> dict[tf.Tensor, bytes]:
    """What to feed to a step for that."""
    return {self._new_offsets: self._of_last_step}

  def step_done(self, offsets: bytes) -> None:
    """Notes that a step is done on all servers, and how far it came."""
    self._of_last_step = offsets

  def write_last_step(self, session: tf.compat.v1.Session) -> None:
    """Writes how far the last step came, when no other follows."""
    session.run(self._write_now, self.step_before())
    self._of_last_step = b""

  def settle(self, session: tf.compat.v1.Session) -> None:
    """Writes how far the streams are read when all batches of a round are trained on:
    behind the last of them there may have been bad messages."""
    trained = stream_offsets.merge(stream.trained() for stream in self.streams)
    if trained and trained != self._written:
      session.run(self._write_now, {self._new_offsets: stream_offsets.encode(trained)})
      self._written = trained
    self._of_last_step = b""

  def saved(self, offsets: Offsets) -> None:
    """Has the brokers told what a checkpoint covers. Chief only."""
    self._covered = offsets
    for stream in self.streams:
      stream.commit(offsets)

  def is_saved(self, session: tf.compat.v1.Session) -> bool:
    """Whether the last checkpoint covers all that is trained. Chief only."""
    return self._covered == self.read(session)

  def commit_last(self) -> None:
    """Makes sure that the brokers know what the last checkpoint covers. For a chief
    that leaves."""
    for stream in self.streams:
      try:
        stream.commit_last(self._covered, _LAST_COMMIT_SECS)
      except KafkaException as error:
        logging.warning(
          "the offsets of the last checkpoint could not be committed to the brokers "
          "(%s); a job that goes on with the checkpoint does not need them",
          error.args[0].str(),
        )

  def close(self) -> None:
    """Leaves the consumer groups."""
    for stream in self.streams:
      stream.close()


class _StepHook(tf.compat.v1.train.SessionRunHook):
  """A step that is run again in a new session gets its feed anew: what was done before
  does not count there."""

  def __init__(self, positions: StreamPositions, offsets: tf.Tensor):
    self._positions = positions
    self._offsets = offsets

  def before_run(self, run_context):
    del run_context
    feed = self._positions.step_before()
    return tf.compat.v1.train.SessionRunArgs(self._offsets, feed)

  def after_run(self, run_context, run_values):
    del run_context
    self._positions.step_done(run_values.results)
