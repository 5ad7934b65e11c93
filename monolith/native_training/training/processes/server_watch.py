"""Notices when a parameter server does not answer any more, though it is not gone.

The connections of a server that has died break, and what waits for it gets an error. A
server whose process is stopped, or whose machine has left without a word, breaks none:
what waits for it waits for ever. So threads of a watch ask each server, again and
again, something that takes no time to answer. How long steps and checkpoints take does
not matter to it.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable

import tensorflow as tf

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.processes import chief_words, coordination
from monolith.native_training.training.processes.chief_words import Word
from monolith.native_training.training.processes.closable_session import (
  ClosableSession,
  sees_only,
)
from monolith.native_training.training.processes.cluster import Cluster

_POLL_SECS = 0.1
_NOTICE_SECS = 30
_LONGEST_PERIOD_SECS = 5.0
_GRACE_SECS = 15.0
_LEAVE_SECS = 5.0
# More than that between two looks, and it was this process that stood still.
_LONGEST_LOOK_SECS = 1.0


class ServerWatch:
  """A context in which no server stays silent for longer than the timeout.

  When one does, the session named last is closed, so that what waits in it ends, and
  the context is left with a TimeoutError in place of the error that comes of that. But
  TensorFlow does not let go of an op that waits for a server which has stopped in the
  middle of it: a process that has not left the context some seconds later says what the
  TimeoutError would, a worker to the chief too, and ends, with exit code 1.

  Used from one thread. The chief's watch also keeps the servers: its questions tell
  them that the job goes on. Where it is left because the chief was asked to leave, it
  says that to the servers that are there.

  Args:
    target: of this process's server.
    timeout_secs: how long a server may be silent.
  """

  def __init__(self, cluster: Cluster, target: str, timeout_secs: float):
    self.timeout_secs = timeout_secs
    self._cluster = cluster
    self._target = target
    self._over = threading.Event()
    self._servers = [
      _Server(cluster, target, i, min(_LONGEST_PERIOD_SECS, timeout_secs / 4))
      for i in range(len(cluster.ps))
    ]
    self._guard = threading.Thread(target=self._look_after_them, daemon=True)
    self._lock = threading.Lock()
    self._session: tf.compat.v1.Session | None = None
    self._problem = ""

  def __enter__(self) -> "ServerWatch":
    for thread in (*self._servers, self._guard):
      thread.start()
    return self

  def __exit__(self, kind, error, trace) -> None:
    if isinstance(error, SystemExit):
      for server in self._servers:
        server.chief_leaves()
    self.stop()
    if isinstance(error, Exception) and not isinstance(error, TimeoutError):
      self._raise_problem(error)

  def stop(self) -> None:
    """Asks no more. Called while the servers are still there, or leaving takes long."""
    self._over.set()
    for server in self._servers:
      server.leave()
    leave_until = time.monotonic() + _LEAVE_SECS
    for thread in (*self._servers, self._guard):
      thread.join(max(leave_until - time.monotonic(), 0))

  def wait_for_servers(self, check: Callable[[], None] = lambda: None) -> None:
    """Returns when every server has answered a question since the call.

    Args:
      check: called again and again; ends the waiting by what it raises.

    Raises:
      TimeoutError: one has not answered for the timeout; the message names it.
    """
    before = [server.answers for server in self._servers]
    for server in self._servers:
      server.hurry()
    notice = time.monotonic() + _NOTICE_SECS
    for server, answers in zip(self._servers, before, strict=True):
      while server.answers == answers:
        check()
        self._raise_problem()
        if time.monotonic() > notice:
          progress_log.info("still waiting for %s", server.name)
          notice += _NOTICE_SECS
        time.sleep(_POLL_SECS / 2)

  def servers_come(
    self, until: Callable[[], bool], check: Callable[[], None] = lambda: None
  ) -> bool:
    """Waits for the servers as `wait_for_servers` does, but no longer than until
    something is so; whether they have come."""

    class Over(Exception):
      pass

    def check_both() -> None:
      check()
      if until():
        raise Over

    try:
      self.wait_for_servers(check_both)
    except Over:
      return False
    return True

  def closes(self, session: tf.compat.v1.Session) -> None:
    """Names the session to close when a server is silent.

    Raises:
      TimeoutError: one is.
    """
    with self._lock:
      self._raise_problem()
      self._session = session

  def _raise_problem(self, cause: BaseException | None = None) -> None:
    if self._problem:
      raise TimeoutError(self._problem) from cause

  def _look_after_them(self) -> None:
    """The guard: ends the waiting when a server is silent for too long."""
    looked_at = time.monotonic()
    while not self._over.wait(_POLL_SECS):
      now = time.monotonic()
      secs = min(now - looked_at, _LONGEST_LOOK_SECS)
      looked_at = now
      silent = max([server.count_silence(secs) for server in self._servers])
      if silent > self.timeout_secs:
        break
    else:
      return
    # A server that answers is heard of twice within half of the timeout.
    problem = "; ".join(
      server.problem(self.timeout_secs)
      for server in self._servers
      if server.silent_secs > self.timeout_secs / 2
    )
    with self._lock:
      self._problem = problem
      session = self._session
    if session is not None:
      session.close()
    if not self._over.wait(_GRACE_SECS):
      message = f"TimeoutError: {problem}; this process ends"
      print(message, file=sys.stderr, flush=True)
      if not self._cluster.is_chief:
        coordination.report_failure(self._cluster, self._target, TimeoutError(problem))
      _end_process()


def _end_process() -> None:
  """Ends it with exit code 1, whatever its other threads wait for."""
  # What was printed before must not be lost, nor a reader that is stuck be waited for.
  flushing = threading.Thread(target=sys.stdout.flush, daemon=True)
  flushing.start()
  flushing.join(1.0)
  os._exit(1)


class _Server(threading.Thread):
  """The thread that asks one server.

  Attributes:
    answers: how many there were.
    silent_secs: how long there was none.
  """

  def __init__(self, cluster: Cluster, target: str, index: int, period_secs: float):
    address = cluster.ps[index]
    super().__init__(name=f"parameter server {index} ({address})", daemon=True)
    self._address = address
    self._target = target
    self._period_secs = period_secs
    self._config = sees_only(f"/job:ps/task:{index}", cluster.worker_device)
    with tf.Graph().as_default() as self._graph:
      self._question = coordination.question(cluster, index)
      self._leaving = None
      if cluster.is_chief:
        self._leaving = chief_words.say(Word.CHIEF_LEAVES, cluster.ps_devices[index])
    self._says_leaving = False
    self._hurry = threading.Event()
    self._over = threading.Event()
    self._counted = 0
    self.answers = 0
    self.silent_secs = 0.0

  def hurry(self) -> None:
    """Lets the next question come at once."""
    self._hurry.set()

  def chief_leaves(self) -> None:
    """Lets the last thing that the chief says be that it leaves."""
    self._says_leaving = self._leaving is not None

  def leave(self) -> None:
    self._over.set()
    self._hurry.set()

  def count_silence(self, secs: float) -> float:
    """Called every few moments, with the seconds since; returns `silent_secs`."""
    if self.answers != self._counted:
      self._counted = self.answers
      self.silent_secs = 0.0
    else:
      self.silent_secs += secs
    return self.silent_secs

  def problem(self, timeout_secs: float) -> str:
    """What may be wrong with it, in a sentence. How late after the timeout that was
    noticed is not told."""
    secs = min(self.silent_secs, timeout_secs)
    problem = _connection_problem(self._address)
    if problem:
      return (
        f"{self.name} cannot be reached for {secs:.0f} s: {problem}. Is it running, "
        "and is its address in TF_CONFIG right? A job whose chief has left or died has "
        "no servers any more"
      )
    return (
      f"{self.name} has not answered for {secs:.0f} s, although its port is open. Its "
      "process may be stopped, or its machine overloaded"
    )

  def run(self) -> None:
    while not self._over.is_set():
      if _connection_problem(self._address) is None:
        try:
          self._ask()
        except tf.errors.OpError:
          pass  # It has gone; perhaps it comes back.
      self._over.wait(_POLL_SECS)

  def _ask(self) -> None:
    """Asks until it is time to leave, or the server has gone."""
    with ClosableSession(
      self._target, graph=self._graph, config=self._config
    ) as session:
      while not self._over.is_set():
        session.run(self._question)
        self.answers += 1
        self._hurry.wait(self._period_secs)
        self._hurry.clear()
      if self._says_leaving:
        session.run(self._leaving)


def _connection_problem(address: str) -> str | None:
  """Why nobody listens at `host:port`; None where somebody does."""
  host, port = address.rsplit(":", 1)
  try:
    socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()
  except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host at all.
    return str(error)
  return None
