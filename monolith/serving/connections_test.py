"""Connections of HTTP beyond the limit, and those that were there before."""

from __future__ import annotations

import http.client
import socket

from absl.testing import absltest

from monolith.serving.testing.clients import curl
from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.testing.server_test_case import TIMEOUT, ServerTestCase

_MODEL = "/v1/models/two_heads"
_PREDICT = f"{_MODEL}:predict"
_METADATA = f"{_MODEL}/metadata"


class ConnectionsTest(ServerTestCase):
  def _connect(self, server: ServerProcess) -> http.client.HTTPConnection:
    """A connection that the server knows, kept open."""
    connection = http.client.HTTPConnection(
      "127.0.0.1", server.rest_port, timeout=TIMEOUT
    )
    self.addCleanup(connection.close)
    self.assertEqual(self._ask(connection, "GET", "/health/live"), 200)
    return connection

  def _ask(
    self, connection: http.client.HTTPConnection, method: str, path: str
  ) -> int | None:
    """The status of the answer; None where the connection has been closed before."""
    body = b'{"instances": [0.0]}' if method == "POST" else None
    connection.auto_open = 1 if path == "/health/live" else 0
    try:
      connection.request(method, path, body)
      response = connection.getresponse()
    except (http.client.NotConnected, ConnectionError):
      return None
    response.read()
    return response.status

  def test_only_what_came_beyond_the_limit_is_refused(self):
    # Those of curl that the server does not know to be gone yet are not too many.
    server = self.start_sleeper("--max_connections=10")
    old = [self._connect(server) for _ in range(10)]
    beyond = self._connect(server)
    for connection in old:
      self.assertEqual(self._ask(connection, "POST", _PREDICT), 200)
    for path in (_MODEL, _METADATA, "/health", "/metrics"):
      self.assertEqual(self._ask(beyond, "GET", path), 200)
      self.assertEqual(curl(server.url + path)[0], 200)
    self.assertEqual(curl(server.url + _PREDICT, "--data", "{}")[0], 429)
    self.assertEqual(self._ask(beyond, "POST", _PREDICT), 429)
    self.assertIsNone(self._ask(beyond, "GET", _MODEL))  # It was closed.
    for connection in old:
      self.assertEqual(self._ask(connection, "POST", _PREDICT), 200)

  def test_who_came_beyond_the_limit_is_let_in_when_there_is_room(self):
    server = self.start_sleeper("--max_connections=2")
    old = [self._connect(server) for _ in range(2)]
    beyond = self._connect(server)
    for connection in old:
      connection.close()
    self.eventually(400, lambda: curl(server.url + _PREDICT, "--data", "{}")[0])
    self.assertEqual(self._ask(beyond, "POST", _PREDICT), 200)

  def test_from_twice_the_limit_on_connections_are_closed(self):
    server = self.start_sleeper("--max_connections=2")
    connections = [self._connect(server) for _ in range(4)]
    address = ("127.0.0.1", server.rest_port)
    for _ in range(3):
      with socket.create_connection(address, TIMEOUT) as last:
        self.assertEqual(last.recv(1), b"")  # The server has closed it.
    self.assertEqual(self._ask(connections[0], "POST", _PREDICT), 200)
    self.assertEqual(self._ask(connections[3], "GET", "/health"), 200)
    self.assertNotIn("Traceback", server.log)


if __name__ == "__main__":
  absltest.main()
