"""Sessions whose variables and tables are ready.

The chief restores the newest checkpoint or initializes; everybody else waits for it.
`global_step` is initialized last, so that a worker that finds it initialized finds all
the rest too.
"""

import time
from collections.abc import Callable

import tensorflow as tf
from absl import logging

from monolith.native_training.training.checkpoint import Checkpointer, step_of
from monolith.native_training.training.cluster import Cluster

_POLL_SECS = 0.2
_NOTICE_SECS = 30


def session_config(cluster: Cluster) -> tf.compat.v1.ConfigProto:
  """Sees servers and itself only, so that workers need not wait for each other."""
  config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
  if cluster.is_distributed:
    config.device_filters.extend(["/job:ps", cluster.worker_device])
  return config


class ReadySessionCreator(tf.compat.v1.train.SessionCreator):
  """Creates sessions on the default graph, again after a server was lost.

  Args:
    cluster: the chief restores or initializes, another worker waits.
    target: where the session runs; `''` is this process.
    checkpointer: for the graph.
    find_checkpoint: returns the path of the checkpoint to begin with, or None.
    warm_start: given the session, changes initial values; not called after a restore.
    on_begin: called on the chief, before others begin, with the session and the global
      step that training begins with.
  """

  def __init__(
    self,
    cluster: Cluster,
    target: str,
    checkpointer: Checkpointer,
    find_checkpoint: Callable[[], str | None],
    warm_start: Callable[[tf.compat.v1.Session], None] | None = None,
    on_begin: Callable[[tf.compat.v1.Session, int], None] | None = None,
  ):
    self._cluster = cluster
    self._target = target
    self._checkpointer = checkpointer
    self._find_checkpoint = find_checkpoint
    self._warm_start = warm_start
    self._on_begin = on_begin
    step = tf.compat.v1.train.get_global_step()
    others = [v for v in tf.compat.v1.global_variables() if v is not step]
    self._init_others = tf.compat.v1.variables_initializer(others)
    self._init_step = step.initializer
    self._is_ready = step.is_initialized()
    self._local_init = tf.group(
      tf.compat.v1.local_variables_initializer(), tf.compat.v1.tables_initializer()
    )

  def create_session(self) -> tf.compat.v1.Session:
    session = tf.compat.v1.Session(self._target, config=session_config(self._cluster))
    if self._cluster.is_chief:
      self._initialize(session)
    else:
      self._wait_for_chief(session)
    session.run(self._local_init)
    return session

  def _initialize(self, session: tf.compat.v1.Session) -> None:
    checkpoint = self._find_checkpoint()
    if self._on_begin:
      self._on_begin(session, step_of(checkpoint) if checkpoint else 0)
    if checkpoint:
      self._checkpointer.restore(session, checkpoint)
      logging.info("restored %s", checkpoint)
      return
    self._checkpointer.clear_tables(session)
    session.run(self._init_others)
    if self._warm_start:
      self._warm_start(session)
    session.run(self._init_step)

  def _wait_for_chief(self, session: tf.compat.v1.Session) -> None:
    notice = time.monotonic() + _NOTICE_SECS
    while not session.run(self._is_ready):
      if time.monotonic() > notice:
        logging.info("still waiting for the chief to initialize the model")
        notice += _NOTICE_SECS
      time.sleep(_POLL_SECS)
