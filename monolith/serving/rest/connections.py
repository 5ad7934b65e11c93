"""Connections of HTTP, counted: which came when there were too many."""

from __future__ import annotations

import asyncio

from aiohttp import web


class Connections:
  """Makes the connections of a server. Belongs to the thread of the event loop.

  On those that come beyond the limit it is for the server to refuse requests, but not
  of who asks how it is. From twice as many on, they are closed as they come.

  Args:
    server: whose connections these are.
    limit: of them.
    **options: of `web.RequestHandler`.
  """

  def __init__(self, server: web.Server, limit: int, **options):
    self.limit = limit
    self.open = 0
    self._server = server
    self._options = options

  def __call__(self) -> asyncio.Protocol:
    """What speaks on a new connection."""
    loop = asyncio.get_running_loop()
    return Connection(self, self._server, loop=loop, **self._options)


class Connection(web.RequestHandler):
  """One of them."""

  __slots__ = ("_all", "_came_beyond")

  def __init__(self, connections: Connections, server: web.Server, **options):
    super().__init__(server, **options)
    self._all = connections
    self._came_beyond = False

  @property
  def is_beyond(self) -> bool:
    """Whether it came beyond the limit, and there has not been room for it since."""
    self._came_beyond = self._came_beyond and self._all.open > self._all.limit
    return self._came_beyond

  def connection_made(self, transport: asyncio.BaseTransport) -> None:
    self._all.open += 1
    self._came_beyond = self._all.open > self._all.limit
    if self._all.open > 2 * self._all.limit:
      transport.close()
    else:
      super().connection_made(transport)

  def connection_lost(self, exc: BaseException | None) -> None:
    self._all.open -= 1
    super().connection_lost(exc)
