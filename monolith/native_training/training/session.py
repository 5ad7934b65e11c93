"""Sessions whose variables and tables are ready.

The chief restores the newest checkpoint or initializes, and then says on every server
that it is ready; everybody else waits for that word of all servers. A server that was
restarted has lost the word with all the rest.
"""

import time
from collections.abc import Callable

import tensorflow as tf

from monolith.native_training.training import progress_log
from monolith.native_training.training.checkpoint import step_of
from monolith.native_training.training.checkpointer import Checkpointer
from monolith.native_training.training.closable_session import (
  ClosableSession,
  sees_only,
)
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.server_watch import ServerWatch

_POLL_SECS = 0.2
_NOTICE_SECS = 30


def session_config(cluster: Cluster) -> tf.compat.v1.ConfigProto:
  """Sees servers and itself only, so that workers need not wait for each other."""
  if cluster.is_distributed:
    return sees_only("/job:ps", cluster.worker_device)
  return sees_only()


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
    watch: over the servers, where there are any.
  """

  def __init__(
    self,
    cluster: Cluster,
    target: str,
    checkpointer: Checkpointer,
    find_checkpoint: Callable[[], str | None],
    warm_start: Callable[[tf.compat.v1.Session], None] | None = None,
    on_begin: Callable[[tf.compat.v1.Session, int], None] | None = None,
    watch: ServerWatch | None = None,
  ):
    self._cluster = cluster
    self._target = target
    self._checkpointer = checkpointer
    self._find_checkpoint = find_checkpoint
    self._warm_start = warm_start
    self._on_begin = on_begin
    self._watch = watch
    self._init = tf.compat.v1.global_variables_initializer()
    ready = _ready_words(cluster)
    self._say_ready = tf.group([word.initializer for word in ready])
    self._is_ready = tf.reduce_all([word.is_initialized() for word in ready])
    self._local_init = tf.group(
      tf.compat.v1.local_variables_initializer(), tf.compat.v1.tables_initializer()
    )

  def create_session(self) -> tf.compat.v1.Session:
    if self._watch:
      self._watch.wait_for_servers()
    session = ClosableSession(self._target, config=session_config(self._cluster))
    try:
      if self._watch:
        self._watch.closes(session)
      if self._cluster.is_chief:
        self._initialize(session)
        session.run(self._say_ready)
      else:
        self._wait_for_chief(session)
      session.run(self._local_init)
    except BaseException:
      session.close()
      raise
    return session

  def _initialize(self, session: tf.compat.v1.Session) -> None:
    checkpoint = self._find_checkpoint()
    if self._on_begin:
      self._on_begin(session, step_of(checkpoint) if checkpoint else 0)
    if checkpoint:
      self._checkpointer.restore(session, checkpoint)
      progress_log.info("restored %s", checkpoint)
      return
    self._checkpointer.clear_tables(session)
    session.run(self._init)
    if self._warm_start:
      self._warm_start(session)

  def _wait_for_chief(self, session: tf.compat.v1.Session) -> None:
    notice = time.monotonic() + _NOTICE_SECS
    while not session.run(self._is_ready):
      if time.monotonic() > notice:
        progress_log.info("still waiting for the chief to initialize the model")
        notice += _NOTICE_SECS
      time.sleep(_POLL_SECS)


def _ready_words(cluster: Cluster) -> list[tf.Variable]:
  """A variable on each server, whose being initialized is the word."""
  words = []
  for i, device in enumerate(cluster.ps_devices):
    with tf.device(device):
      # No global variable: it is the job's, not the model's.
      word = tf.compat.v1.Variable(
        True,
        trainable=False,
        collections=[],
        use_resource=True,
        name=f"monolith_ready_{i}",
      )
    words.append(word)
  return words
