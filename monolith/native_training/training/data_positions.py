"""How far each worker has come in its data: positions that are part of checkpoints.

A position is the number of batches of a worker's dataset that were trained on. A worker
that begins, for the first time or after a crash, leaves out so many: it goes on where
it was. That is exact where its `input_fn` yields the same batches in the same order
each time.

Whenever the model is restored it goes back, and its positions with it: a new timeline
begins. A step that a worker began before counts nothing when it comes late, because the
batch is trained on again.
"""

from typing import Any

import tensorflow as tf

from monolith.native_training.training import dense_variables, progress_log
from monolith.native_training.training.cluster import Cluster


class DataPositions:
  """The positions of all workers of a job, in the default graph.

  They are a global variable, int64 `[num_workers]`, beside the global step, which is
  incremented in the same step as that.

  Attributes:
    skip: int64 scalar, to be fed where the dataset begins: batches to leave out.
    current: this worker's position: where it began, and the batches since.
  """

  def __init__(self, cluster: Cluster):
    self._index = cluster.worker_index
    self._num_workers = cluster.num_workers
    self._device = tf.compat.v1.train.get_global_step().device
    # Its place is given: it does not count where other variables are spread by size.
    with tf.device(None), tf.device(self._device):
      self._variable = tf.compat.v1.get_variable(
        "monolith_data_positions",
        [self._num_workers],
        tf.int64,
        tf.compat.v1.zeros_initializer(),
        trainable=False,
        use_resource=True,
      )
      self._own = self._variable.read_value()[self._index]
      # No global variables: no checkpoint has them.
      self._timeline = tf.compat.v1.Variable(
        tf.random.uniform([], 1, tf.int64.max, tf.int64),
        trainable=False,
        collections=[],
        use_resource=True,
        name="monolith_timeline",
      )
      self._timelines = tf.compat.v1.Variable(
        tf.zeros([self._num_workers], tf.int64),
        trainable=False,
        collections=[],
        use_resource=True,
        name="monolith_timelines_of_workers",
      )
      own_place = tf.one_hot(self._index, self._num_workers, dtype=tf.int64)
      own_timeline = self._timelines.read_value()[self._index]
      self._join = self._timelines.assign_add(
        own_place * (self._timeline.read_value() - own_timeline), read_value=False
      )
    tf.compat.v1.add_to_collection(dense_variables.OF_THE_JOB, self._variable)
    self.skip = tf.compat.v1.placeholder(tf.int64, [], "monolith_batches_to_skip")
    self.current = 0

  def count_batch(self) -> tf.Operation:
    """Counts a batch of this worker's when it runs, unless the model has been restored
    since `begin`."""
    with tf.device(self._device):
      one = tf.one_hot(self._index, self._num_workers, dtype=tf.int64)
      own_timeline = self._timelines.read_value()[self._index]
      counts = tf.equal(own_timeline, self._timeline.read_value())
      return self._variable.assign_add(
        one * tf.cast(counts, tf.int64), read_value=False
      )

  def begin_timeline(self, session: tf.compat.v1.Session) -> None:
    """Says that the model was restored or is new. Before any worker begins."""
    session.run([self._timeline.initializer, self._timelines.initializer])

  def reset(self, session: tf.compat.v1.Session) -> None:
    """Lets all workers begin their data anew."""
    session.run(self._variable.initializer)

  def read(self, session: tf.compat.v1.Session) -> int:
    """This worker's position as its server has it."""
    return int(session.run(self._own))

  def begin(self, session: tf.compat.v1.Session) -> dict[tf.Tensor, Any]:
    """Joins the timeline of the model; what to feed where the dataset begins in a new
    session."""
    session.run(self._join)
    self.current = self.read(session)
    if self.current:
      progress_log.info(
        "the data go on behind batch %s, which is where training was",
        f"{self.current:,}",
      )
    return {self.skip: self.current}

  def step_done(self) -> None:
    self.current += 1
