"""Places for messages that are being received.

gRPC does not tell how much of a message has come, so each is reckoned to be of the
largest size, and only as many are received at a time as there are places. No connection
has more than a part of these: one whose messages do not come keeps out no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from monolith.serving.errors import Code, ServingError

_PARTS = 4  # Connections that it takes to have all places, if there are as many.


class _Connection:
  """Its part of the places, and how many calls hold or want one."""

  def __init__(self, count: int):
    self.places = asyncio.Semaphore(count)
    self.calls = 0


class Places:
  """Belongs to the thread of the event loop.

  Args:
    count: messages that may be received at a time.
    max_waiting: calls that may wait for a place.
    wait_seconds: that each may wait.
  """

  def __init__(self, count: int, max_waiting: int, wait_seconds: float):
    self._count = count
    self._part = max(1, count // _PARTS)
    self._max_waiting = max_waiting
    self._wait_seconds = wait_seconds
    self._places = asyncio.Semaphore(count)
    self._connections: dict[str, _Connection] = {}
    self._waiting = 0

  @contextlib.asynccontextmanager
  async def one(self, peer: str) -> AsyncIterator[None]:
    """A place while entered.

    Args:
      peer: the connection that the message comes by.

    Raises:
      ServingError: none has become free.
    """
    connection = self._connections.get(peer)
    if connection is None:
      connection = self._connections[peer] = _Connection(self._part)
    connection.calls += 1
    try:
      await self._take(connection)
      try:
        yield
      finally:
        self._places.release()
        connection.places.release()
    finally:
      connection.calls -= 1
      if not connection.calls:
        del self._connections[peer]

  async def _take(self, connection: _Connection) -> None:
    if not (connection.places.locked() or self._places.locked()):
      await connection.places.acquire()  # At once.
      await self._places.acquire()
      return
    if self._waiting >= self._max_waiting:
      raise self._full(connection.places.locked())
    self._waiting += 1
    waits_for_own = True
    try:
      async with asyncio.timeout(self._wait_seconds):
        await connection.places.acquire()
        waits_for_own = False
        try:
          await self._places.acquire()
        except BaseException:
          connection.places.release()
          raise
    except TimeoutError:
      raise self._full(waits_for_own) from None
    finally:
      self._waiting -= 1

  def _full(self, is_of_connection: bool) -> ServingError:
    whose, count = "all connections", self._count
    if is_of_connection:
      whose, count = "this connection", self._part
    return ServingError(
      Code.RESOURCE_EXHAUSTED,
      f"{count} messages of {whose} are being received, and no more are at a time",
    )
