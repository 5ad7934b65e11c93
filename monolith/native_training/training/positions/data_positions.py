"""How far each worker has come in its data: positions that are part of checkpoints.

A position is the number of batches of a worker's dataset that were trained on. A worker
that begins, for the first time or after a crash, leaves out so many: it goes on where
it was. That is exact where its `input_fn` yields the same batches in the same order
each time.

A batch counts when all that it changes is changed, on every server, and a checkpoint
reads the positions before all else. So it has all of every batch that counts in it; of
later ones it may have some, which are trained on again. A worker that is killed before
its batch counts trains on that one again.

When the model goes back, its positions do so with it, and a step of the timeline before
counts nothing when it comes late.
"""

from typing import Any

import tensorflow as tf

from monolith.native_training.training.checkpoints import dense_variables
from monolith.native_training.training.positions.timeline import Timeline
from monolith.native_training.training.processes.cluster import Cluster


class DataPositions:
  """The positions of all workers of a job, in the default graph.

  They are a global variable, int64 `[num_workers]`, beside the global step, which is
  incremented in the same step as that.

  Attributes:
    skip: int64 scalar, to be fed where the dataset begins: batches to leave out.
    current: this worker's position: where it began, and the batches since.
  """

  def __init__(self, cluster: Cluster, timeline: Timeline):
    self._index = cluster.worker_index
    self._num_workers = cluster.num_workers
    self._timeline = timeline
    with tf.device(None), tf.device(timeline.device):
      self._variable = tf.compat.v1.get_variable(
        "monolith_data_positions",
        [self._num_workers],
        tf.int64,
        tf.compat.v1.zeros_initializer(),
        trainable=False,
        use_resource=True,
      )
      self._own = self._variable.read_value()[self._index]
    tf.compat.v1.add_to_collection(
      dense_variables.OF_THE_JOB, dense_variables.JobVariable(self._variable)
    )
    self.skip = tf.compat.v1.placeholder(tf.int64, [], "monolith_batches_to_skip")
    self.current = 0

  def count_batch(self, is_present: tf.Tensor) -> tf.Operation:
    """Counts a batch of this worker's when it runs.

    Args:
      is_present: `Timeline.is_present`; nothing is counted where it is False.
    """
    with tf.device(self._timeline.device):
      one = tf.one_hot(self._index, self._num_workers, dtype=tf.int64)
      return self._variable.assign_add(
        one * tf.cast(is_present, tf.int64), read_value=False
      )

  def reset(self, session: tf.compat.v1.Session) -> None:
    """Lets all workers begin their data anew."""
    session.run(self._variable.initializer)

  def read(self, session: tf.compat.v1.Session) -> int:
    """This worker's position as its server has it."""
    return int(session.run(self._own))

  def begin(self, session: tf.compat.v1.Session) -> dict[tf.Tensor, Any]:
    """What to feed where the dataset begins in a new session."""
    self.current = self.read(session)
    return {self.skip: self.current}

  def step_done(self) -> None:
    self.current += 1
