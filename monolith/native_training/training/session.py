"""Sessions whose variables and tables are ready.

The chief restores the newest sound checkpoint or initializes, and then says on every
server that it is ready; everybody else waits for that word of all servers. A server
that was restarted has lost the word with all the rest. So where all servers have it
they hold the live model, and a chief that was restarted, or lost its connection, goes
on with that. Where one lacks it everything is restored, on all servers.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.checkpoints import sound_checkpoint
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer
from monolith.native_training.training.processes.closable_session import (
  ClosableSession,
  sees_only,
)
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.server_watch import ServerWatch

_POLL_SECS = 0.2
_NOTICE_SECS = 30


def session_config(cluster: Cluster) -> tf.compat.v1.ConfigProto:
  """Sees servers and itself only, so that workers need not wait for each other."""
  if cluster.is_distributed:
    return sees_only("/job:ps", cluster.worker_device)
  return sees_only()


@dataclasses.dataclass
class Beginning:
  """What the chief has begun a session with.

  Attributes:
    is_live: the servers held the live model already, and nothing was restored.
    checkpoint: path of the one that was restored, if one was.
    refused: paths of newer ones that could not be used.
  """

  is_live: bool = False
  checkpoint: str | None = None
  refused: Sequence[str] = ()


class ReadySessionCreator(tf.compat.v1.train.SessionCreator):
  """Creates sessions on the default graph, again after a server was lost.

  Args:
    cluster: the chief restores or initializes, another worker waits.
    target: where the session runs; `''` is this process.
    checkpointer: for the graph.
    find_checkpoints: returns the paths of the checkpoints to begin with, the best
      first: another is used only when those before it are refused. Is asked again
      where one was removed meanwhile.
    warm_start: given the session, changes initial values; not called after a restore.
    on_begin: called on the chief, before others begin, with the session.
    input_feed: given the session, returns what to feed where the data begin.
    watch: over the servers, where there are any.
    check: called again and again while something is waited for; ends that by what it
      raises.
    before_begin: called on the chief, with the session, before a model is restored or
      initialized.
  """

  def __init__(
    self,
    cluster: Cluster,
    target: str,
    checkpointer: Checkpointer,
    find_checkpoints: Callable[[], Sequence[str]],
    warm_start: Callable[[tf.compat.v1.Session], None] | None = None,
    on_begin: Callable[[tf.compat.v1.Session, Beginning], None] | None = None,
    input_feed: Callable[[tf.compat.v1.Session], Mapping[tf.Tensor, Any]] | None = None,
    watch: ServerWatch | None = None,
    check: Callable[[], None] = lambda: None,
    before_begin: Callable[[tf.compat.v1.Session], None] = lambda session: None,
  ):
    self._cluster = cluster
    self._target = target
    self._checkpointer = checkpointer
    self._find_checkpoints = find_checkpoints
    self._warm_start = warm_start
    self._on_begin = on_begin
    self._input_feed = input_feed
    self._watch = watch
    self._check = check
    self._before_begin = before_begin
    self._init = tf.compat.v1.global_variables_initializer()
    ready = _ready_words(cluster)
    self._say_ready = tf.group([word.initializer for word in ready])
    self._is_ready = tf.reduce_all([word.is_initialized() for word in ready])
    self._local_init = tf.group(
      tf.compat.v1.local_variables_initializer(), tf.compat.v1.tables_initializer()
    )

  def create_session(self) -> tf.compat.v1.Session:
    if self._watch:
      self._watch.wait_for_servers(self._check)
    session = ClosableSession(self._target, config=session_config(self._cluster))
    try:
      if self._watch:
        self._watch.closes(session)
      if self._cluster.is_chief:
        beginning = self._begin(session)
        if self._on_begin:
          self._on_begin(session, beginning)
        session.run(self._say_ready)
      else:
        self._wait_for_chief(session)
      feed = self._input_feed(session) if self._input_feed else None
      session.run(self._local_init, feed)
    except BaseException:
      session.close()
      raise
    return session

  def check_servers(self, session: tf.compat.v1.Session) -> None:
    """Whether all servers still hold the model.

    Raises:
      tf.errors.AbortedError, tf.errors.UnavailableError: one does not; a new session is
        needed.
    """
    if not session.run(self._is_ready):
      raise tf.errors.AbortedError(None, None, "a server was restarted")

  def _begin(self, session: tf.compat.v1.Session) -> Beginning:
    if session.run(self._is_ready):
      return Beginning(is_live=True)
    paths = self._find_checkpoints()
    self._before_begin(session)
    if paths:
      used = sound_checkpoint.first_sound(
        paths,
        lambda path: self._checkpointer.restore(session, path),
        self._find_checkpoints,
      )
      progress_log.info("restored %s", used.path)
      return Beginning(checkpoint=used.path, refused=used.refused)
    self._checkpointer.clear_tables(session)
    session.run(self._init)
    if self._warm_start:
      self._warm_start(session)
    return Beginning()

  def _wait_for_chief(self, session: tf.compat.v1.Session) -> None:
    notice = time.monotonic() + _NOTICE_SECS
    while not session.run(self._is_ready):
      self._check()
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
