"""Removing rows that were not updated for their table's `expire_time`.

The chief evicts before it saves and, beside training, every so many hours. A server
goes through its rows a few thousand at a time, so that no step waits for long.
"""

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import loader

# Beside training rows are gone through in so many parts, the end of each of which is a
# place to stop at.
_PARTS = 64
_LEAVE_SECS = 5.0

Evicted = dict[str, int]  # Rows removed of each table, all servers together.


class Eviction:
  """Evicts from the tables of the default graph.

  Args:
    embedding: the tables.
    every_hours: how often `beside_training` evicts; None is never.
  """

  def __init__(self, embedding: ShardedEmbedding, every_hours: float | None = None):
    self._names = [table.name for table in embedding.plan.tables]
    self._period_secs = every_hours * 3600 if every_hours else None
    self._done: queue.SimpleQueue[Evicted] = queue.SimpleQueue()
    self._part = tf.compat.v1.placeholder(tf.int64, [])
    self._evict, self._evict_part = [], []
    ops = loader.ops()
    for server, handle in embedding.table_sets():
      with tf.device(server):  # By the clock that the rows' times are from.
        now = tf.cast(tf.timestamp(), tf.int64)
        self._evict.append(ops.monolith_evict(handle, now))
        self._evict_part.append(
          ops.monolith_evict_part(handle, now, self._part, num_parts=_PARTS)
        )

  def run(self, session: tf.compat.v1.Session) -> Evicted:
    """Evicts now; returns how many rows went."""
    return self._by_table(session.run(self._evict))

  def _by_table(self, of_servers: Sequence[np.ndarray]) -> Evicted:
    return {
      name: sum(int(of_server[i]) for of_server in of_servers)
      for i, name in enumerate(self._names)
    }

  @contextlib.contextmanager
  def beside_training(
    self, session: Callable[[], tf.compat.v1.Session | None]
  ) -> Iterator[None]:
    """Evicts every so many hours, in a thread, for as long as the context lasts.

    The end of the context waits for the part of the rows that is being gone through, so
    that nothing runs in the session any more, and the rest is left. Where an exception
    ends it, a server may be what is wrong, and it waits for a few seconds only.

    Args:
      session: returns the session to use, which changes when a server was lost.
    """
    if not self._period_secs or not self._evict:
      yield
      return
    over = threading.Event()

    def evict_now_and_then() -> None:
      while not over.wait(self._period_secs):
        current = session()
        if current is None:  # It is being made anew.
          continue
        try:
          self._run_in_parts(current, over)
        # A server that is away, or a session that was closed because of it.
        except (tf.errors.OpError, RuntimeError) as error:
          if not over.is_set():
            logging.warning("not all expired rows were evicted: %s", error)

    thread = threading.Thread(target=evict_now_and_then, daemon=True)
    thread.start()
    patience = _LEAVE_SECS
    try:
      yield
      patience = None
    finally:
      over.set()
      thread.join(patience)

  def _run_in_parts(self, session: tf.compat.v1.Session, over: threading.Event) -> None:
    """Evicts until it is over; what went is told even if something fails halfway."""
    evicted: collections.Counter[str] = collections.Counter()
    try:
      for part in range(_PARTS):
        if over.is_set():
          break
        counts = session.run(self._evict_part, {self._part: part})
        evicted.update(self._by_table(counts))
    finally:
      if evicted:
        self._done.put(dict(evicted))

  def take_done(self) -> list[Evicted]:
    """What `beside_training` has evicted since this was last called."""
    done = []
    with contextlib.suppress(queue.Empty):
      while True:
        done.append(self._done.get_nowait())
    return done
