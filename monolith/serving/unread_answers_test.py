"""Answers that nobody reads count, and are given up where that can be."""

from __future__ import annotations

import json
import socket

import grpc
import numpy as np
from absl.testing import absltest

from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import export_counter
from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.testing.server_test_case import TIMEOUT, ServerTestCase

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_GRPC_COUNT = 500_000  # In 2 MB.
_REST_COUNT = 2_000_000  # In 19 MB, more than the sockets take.
_LIMITS = ("--max_request_bytes=100000", "--max_bytes_in_flight=9000000")
_Code = grpc.StatusCode


class UnreadAnswersTest(ServerTestCase):
  def _start(self, *flags: str) -> ServerProcess:
    base_path = self.create_tempdir().full_path
    export_counter(base_path)
    return self.start(base_path, *flags).wait_until_ready()

  def _until_in_flight(self, server: ServerProcess, count: int) -> None:
    text = f"requests_in_flight {count:.1f}"
    self.eventually(True, lambda: self.has_metric(server, text))

  def test_they_count_over_grpc(self):
    server = self._start(*_LIMITS)
    # Else the client's windows grow, and it receives what it has not asked for.
    channel = self.connect(server, ("grpc.http2.bdp_probe", 0))
    body = predict_request(count=np.array([_GRPC_COUNT])).SerializeToString()

    def code() -> grpc.StatusCode:
      try:
        channel.unary_unary(_PREDICT)(body, TIMEOUT)
        return _Code.OK
      except grpc.RpcError as error:
        self.assertRegex(error.details(), "bodies and answers .* 9000000 bytes")
        return error.code()

    self.assertEqual(code(), _Code.OK)
    self._until_in_flight(server, 0)  # Till then its answer counts.
    # Of a stream nothing is read before it is asked for.
    unread = [channel.unary_stream(_PREDICT)(body) for _ in range(4)]
    for call in unread:
      call.initial_metadata()  # Waits for it.
    self.assertEqual(code(), _Code.RESOURCE_EXHAUSTED)
    self._until_in_flight(server, 4)
    self.assertLen(list(unread[0]), 1)
    self._until_in_flight(server, 3)
    self.assertEqual(code(), _Code.OK)
    for call in unread:
      call.cancel()
    self._until_in_flight(server, 0)

  def _ask(self, server: ServerProcess) -> socket.socket:
    """A connection whose answer has begun to come, and is not read yet."""
    connection = self.enter_context(socket.socket())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.settimeout(TIMEOUT)
    connection.connect(("127.0.0.1", server.rest_port))
    body = json.dumps({"inputs": {"count": [_REST_COUNT]}}).encode()
    head = "POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    connection.recv(1, socket.MSG_PEEK)
    return connection

  def _read(self, connection: socket.socket) -> int:
    """How much comes, until the server closes the connection."""
    size = 0
    try:
      while data := connection.recv(1 << 20):
        size += len(data)
    except ConnectionResetError:
      pass
    return size

  def test_they_count_over_http(self):
    server = self._start("--max_request_bytes=100000", "--max_bytes_in_flight=30000000")
    connection = self._ask(server)
    url = f"{server.url}/v1/models/two_heads:predict"
    count = json.dumps({"inputs": [_REST_COUNT]})
    self.assertEqual(curl(url, "--data", count)[0], 429)
    self._until_in_flight(server, 1)
    self.assertGreater(self._read(connection), 9 * _REST_COUNT)
    self._until_in_flight(server, 0)
    self.assertEqual(curl(url, "--data", count)[0], 200)

  def test_they_are_given_up_over_http(self):
    server = self._start("--rest_api_timeout_in_ms=15000")
    connection = self._ask(server)
    self._until_in_flight(server, 1)
    self._until_in_flight(server, 0)
    self.assertLess(self._read(connection), 9 * _REST_COUNT)
    self.assertNotIn("Traceback", server.log)


if __name__ == "__main__":
  absltest.main()
