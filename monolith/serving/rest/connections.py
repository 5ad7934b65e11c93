"""Connections of HTTP: accepted, counted, and closed where there are too many."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from http import HTTPStatus

from absl import logging
from aiohttp import web

from monolith.serving.errors import invalid_argument
from monolith.serving.rest import json_response

_HANDSHAKE_SECONDS = 5.0  # That a client may take to agree on how to encrypt.
_BACKLOG = 128  # Connections that may wait to be accepted.
# Of a host that has addresses of two kinds, this machine may have one.
_NOT_OF_THIS_MACHINE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_LAST_SECONDS = 0.05  # For TLS and the request of what is accepted last of all.
_PAUSE_SECONDS = 0.5  # After a connection could not be accepted.


class Connections:
  """The connections of a server. Belongs to the thread of the event loop.

  They count from when they are accepted, before any TLS. On those that come beyond the
  limit it is for the server to refuse requests, but not of who asks how it is. From
  twice as many on, they are closed as they come.

  Args:
    server: whose connections these are.
    limit: of them.
    tls: how they are encrypted; None for not.
    **options: of `web.RequestHandler`.
  """

  def __init__(
    self, server: web.Server, limit: int, tls: ssl.SSLContext | None, **options
  ):
    self.limit = limit
    self.open = 0
    self._server = server
    self._tls = tls
    self._options = options
    self._listening: list[socket.socket] = []
    self._tasks: set[asyncio.Task] = set()

  async def listen(self, host: str, port: int) -> int:
    """Accepts connections until `close`; returns the port.

    Raises:
      OSError: the port cannot be had.
    """
    self._listening = await _listening_sockets(host, port)
    for each in self._listening:
      self._resume(each)
    return self._listening[0].getsockname()[1]

  async def close(self) -> None:
    """Accepts no more but what waits, and gives up what has not agreed on TLS then."""
    loop = asyncio.get_running_loop()
    for each in self._listening:
      self._accept(each)
      loop.remove_reader(each)
      each.close()
    self._listening = []
    await asyncio.sleep(_LAST_SECONDS)
    for task in self._tasks:
      task.cancel()
    if self._tasks:
      await asyncio.wait(self._tasks)

  def _resume(self, listening: socket.socket) -> None:
    """Accepts what comes from now on."""
    if listening in self._listening:
      loop = asyncio.get_running_loop()
      loop.add_reader(listening, self._accept, listening)

  def _accept(self, listening: socket.socket) -> None:
    """Takes what waits, but not without end: then others have their turn. The event
    loop logs whatever else this raises, and goes on."""
    try:
      for _ in range(_BACKLOG):
        accepted, _ = listening.accept()
        self._admit(accepted)
    except (BlockingIOError, InterruptedError, ConnectionAbortedError):
      pass  # That was all, or one that has gone.
    except OSError as error:  # Such as too many open files.
      logging.warning("no connection of HTTP can be accepted: %s", error)
      loop = asyncio.get_running_loop()
      loop.remove_reader(listening)
      loop.call_later(_PAUSE_SECONDS, self._resume, listening)

  def _admit(self, accepted: socket.socket) -> None:
    if self.open >= 2 * self.limit:
      accepted.close()
      return
    try:
      accepted.setblocking(False)
      welcome = self._welcome(accepted, Connection(self))
    except BaseException:
      accepted.close()
      raise
    task = asyncio.get_running_loop().create_task(welcome)
    self._tasks.add(task)
    task.add_done_callback(self._tasks.discard)

  async def _welcome(self, accepted: socket.socket, connection: Connection) -> None:
    """Lets a connection speak HTTP, after TLS."""
    try:
      await asyncio.get_running_loop().connect_accepted_socket(
        lambda: connection,
        accepted,
        ssl=self._tls,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._tls else None,
      )
    except BaseException as error:
      connection.count_no_longer()
      if not isinstance(error, OSError):  # Such as a silent client, or one without TLS.
        raise


class Connection(web.RequestHandler):
  """One of them, which counts from when it is made."""

  __slots__ = ("_all", "_came_beyond", "_counts")

  def __init__(self, connections: Connections):
    loop = asyncio.get_running_loop()
    super().__init__(connections._server, loop=loop, **connections._options)
    self._all = connections
    self._all.open += 1
    self._counts = True
    self._came_beyond = self._all.open > self._all.limit

  @property
  def is_beyond(self) -> bool:
    """Whether it came beyond the limit, and there has not been room for it since."""
    self._came_beyond = self._came_beyond and self._all.open > self._all.limit
    return self._came_beyond

  def count_no_longer(self) -> None:
    """Makes room for another, once."""
    self._all.open -= self._counts
    self._counts = False

  def handle_error(
    self,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
  ) -> web.Response:
    """The answer to what is no request that HTTP knows: JSON, as every error is."""
    answer = super().handle_error(request, status, exc, message)
    error = invalid_argument(answer.text or HTTPStatus(status).phrase)
    answer = web.Response(
      body=json_response.error(error), status=status, content_type="application/json"
    )
    answer.force_close()
    return answer

  def connection_lost(self, exc: BaseException | None) -> None:
    self.count_no_longer()
    super().connection_lost(exc)


async def _listening_sockets(host: str, port: int) -> list[socket.socket]:
  """One an address of the host."""
  found = await asyncio.get_running_loop().getaddrinfo(
    host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
  )
  sockets: list[socket.socket] = []
  with contextlib.ExitStack() as opened:
    for family, _, _, _, address in dict.fromkeys(found):
      try:
        each = socket.create_server(address, family=family, backlog=_BACKLOG)
      except OSError as error:
        if error.errno not in _NOT_OF_THIS_MACHINE:
          raise
        missing = error
        continue
      each.setblocking(False)
      sockets.append(opened.enter_context(each))
    if not sockets:
      raise missing
    opened.pop_all()
  return sockets
