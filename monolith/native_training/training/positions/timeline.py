"""Whether a step still belongs to the model that there is.

Whenever the model is restored it goes back to an earlier state: a new timeline begins.
Steps that workers began before may still come to their end on the servers, but what
they have trained on is trained on again.
"""

import tensorflow as tf

from monolith.native_training.training.processes.cluster import Cluster


class Timeline:
  """The model's timeline, and those that the workers have joined, in the default graph.

  They are variables beside the global step, but no global ones: no checkpoint has them.

  Attributes:
    device: where they are.
  """

  def __init__(self, cluster: Cluster):
    self.device = tf.compat.v1.train.get_global_step().device
    # Its place is given: it does not count where other variables are spread by size.
    with tf.device(None), tf.device(self.device):
      self._now = tf.compat.v1.Variable(
        tf.random.uniform([], 1, tf.int64.max, tf.int64),
        trainable=False,
        collections=[],
        use_resource=True,
        name="monolith_timeline",
      )
      self._joined = tf.compat.v1.Variable(
        tf.zeros([cluster.num_workers], tf.int64),
        trainable=False,
        collections=[],
        use_resource=True,
        name="monolith_timelines_of_workers",
      )
      self._index = cluster.worker_index
      own_place = tf.one_hot(self._index, cluster.num_workers, dtype=tf.int64)
      own = self._joined.read_value()[self._index]
      self._join = self._joined.assign_add(
        own_place * (self._now.read_value() - own), read_value=False
      )

  def is_present(self) -> tf.Tensor:
    """Bool scalar, computed when it runs: the model was not restored since this worker
    joined."""
    with tf.device(self.device):
      own = self._joined.read_value()[self._index]
      return tf.equal(own, self._now.read_value())

  def begin(self, session: tf.compat.v1.Session) -> None:
    """Says that the model goes back or is new; before it does, so that no earlier step
    counts in what is restored, and before any worker joins."""
    session.run([self._now.initializer, self._joined.initializer])

  def join(self, session: tf.compat.v1.Session) -> None:
    """Says that this worker begins, or begins anew."""
    session.run(self._join)
