"""Removing rows that were not updated for their table's `expire_time`.

The chief evicts before it saves and, beside training, every so many hours. A server
goes through its rows a few thousand at a time, so that no step waits for long.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import logging

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import loader

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
    self._evict = []
    for server, handle in embedding.table_sets():
      with tf.device(server):  # By the clock that the rows' times are from.
        now = tf.cast(tf.timestamp(), tf.int64)
        self._evict.append(loader.ops().monolith_evict(handle, now))

  def run(self, session: tf.compat.v1.Session) -> Evicted:
    """Evicts now; returns how many rows went."""
    counts = session.run(self._evict)
    return {
      name: sum(int(of_server[i]) for of_server in counts)
      for i, name in enumerate(self._names)
    }

  @contextlib.contextmanager
  def beside_training(
    self, session: Callable[[], tf.compat.v1.Session | None]
  ) -> Iterator[None]:
    """Evicts every so many hours, in a thread, for as long as the context lasts.

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
          self._done.put(self.run(current))
        # A server that is away, or a session that was closed because of it.
        except (tf.errors.OpError, RuntimeError) as error:
          if not over.is_set():
            logging.warning("no expired rows were evicted: %s", error)

    thread = threading.Thread(target=evict_now_and_then, daemon=True)
    thread.start()
    try:
      yield
    finally:
      over.set()
      thread.join(_LEAVE_SECS)

  def take_done(self) -> list[Evicted]:
    """What `beside_training` has evicted since this was last called."""
    done = []
    with contextlib.suppress(queue.Empty):
      while True:
        done.append(self._done.get_nowait())
    return done
