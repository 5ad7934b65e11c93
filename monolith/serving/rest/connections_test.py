"""How connections are accepted, whatever fails."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from unittest import mock

from absl.testing import absltest
from aiohttp import web

from monolith.serving.rest import connections
from monolith.serving.rest.connections import Connections

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class ConnectionsTest(absltest.TestCase):
  def _run(self, scenario, handler=None) -> None:
    """Runs a coroutine function, which is given the port of a server."""

    async def answer(request: web.BaseRequest) -> web.Response:
      del request
      return web.Response(text="hello")

    async def run() -> None:
      server = web.Server(handler or answer)
      self.accepting = accepting = Connections(server, 10, None)
      try:
        port = await accepting.listen("localhost", 0)
        await asyncio.wait_for(scenario(port), 30)
      finally:
        await accepting.close()
        await server.shutdown()

    asyncio.run(run())

  async def _ask(self, port: int) -> bytes:
    """All that is answered; nothing where the connection is closed."""
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(_REQUEST)
    try:
      return await reader.read()
    except ConnectionError:
      return b""
    finally:
      writer.close()

  def test_what_fails_for_one_connection_ends_no_other(self):
    made, make = [], connections.Connection

    def fail_once(*args):
      made.append(args)
      if len(made) == 1:
        raise MemoryError
      return make(*args)

    async def scenario(port: int) -> None:
      with mock.patch.object(connections, "Connection", fail_once):
        self.assertEmpty(await self._ask(port))
        for _ in range(2):
          self.assertIn(b"hello", await self._ask(port))

    self._run(scenario)

  def test_it_goes_on_when_files_are_to_be_had_again(self):
    accept, failed = socket.socket.accept, []

    def fail_once(listening):
      if not failed:
        failed.append(listening)
        raise OSError(errno.EMFILE, "Too many open files")
      return accept(listening)

    async def scenario(port: int) -> None:
      with (
        mock.patch.object(socket.socket, "accept", fail_once),
        self.assertLogs("absl", "WARNING") as logs,
      ):
        self.assertIn(b"hello", await self._ask(port))
      self.assertLen(failed, 1)
      self.assertIn("no connection of HTTP can be accepted", logs.output[0])

    self._run(scenario)

  def test_what_waits_at_the_end_is_answered(self):
    async def scenario(port: int) -> None:
      with socket.create_connection(("localhost", port)) as waiting:
        waiting.sendall(_REQUEST)
        with mock.patch.object(connections, "_LAST_SECONDS", 5.0):
          await self.accepting.close()
        answer = await asyncio.to_thread(waiting.recv, 1000)
        self.assertIn(b"200 OK", answer)

    self._run(scenario)

  def test_addresses_that_this_machine_has_not_are_passed_over(self):
    create = socket.create_server

    def without_ipv6(address, *, family, **options):
      if family == socket.AF_INET6:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported")
      return create(address, family=family, **options)

    both = [
      (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
      (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]

    async def listen(found) -> list[socket.socket]:
      loop = asyncio.get_running_loop()
      with mock.patch.object(loop, "getaddrinfo", mock.AsyncMock(return_value=found)):
        return await connections._listening_sockets("localhost", 0)

    with mock.patch.object(socket, "create_server", without_ipv6):
      (listening,) = asyncio.run(listen(both))
      with listening:
        self.assertEqual(listening.family, socket.AF_INET)
      with self.assertRaisesRegex(OSError, "Address family not supported"):
        asyncio.run(listen(both[:1]))

  def test_an_error_without_a_text_is_answered(self):
    async def fail(request: web.BaseRequest) -> web.Response:
      raise TimeoutError

    async def scenario(port: int) -> None:
      head, _, body = (await self._ask(port)).partition(b"\r\n\r\n")
      self.assertStartsWith(head, b"HTTP/1.1 504 ")
      self.assertEqual(json.loads(body), {"error": "Gateway Timeout"})

    self._run(scenario, fail)


if __name__ == "__main__":
  absltest.main()
