"""gRPC messages that do not come, or not soon, cost little and hold up nobody else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import grpc
import numpy as np
from absl.testing import absltest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from monolith.serving.testing.clients import predict_request
from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.testing.server_test_case import TIMEOUT, ServerTestCase

_PREDICT = "/tensorflow.serving.PredictionService/Predict"
_CHECK = "/grpc.health.v1.Health/Check"
_MESSAGE_BYTES = 4_000_000
_FOUR_PLACES = ("--max_request_bytes=5000000", "--max_bytes_in_flight=20000000")
_LONG_SECONDS = 600.0  # That no test takes.
_Code = grpc.StatusCode


class ReceivingTest(ServerTestCase):
  def setUp(self):
    super().setUp()
    self.never = threading.Event()
    self.addCleanup(self.never.set)

  def _stall(self, channel: grpc.Channel, method: str, count: int) -> list[grpc.Future]:
    """Begins calls whose messages do not come."""
    calls = []
    for _ in range(count):
      messages = (b"" for _ in iter(self.never.wait, True))
      calls.append(channel.stream_unary(method).future(messages))
    return calls

  def _stalled(self, method: str, count: int, *flags: str) -> ServerProcess:
    """A server with a connection, `self.channel`, that stalls so often, and for as long
    as the test takes."""
    self.constants = {"monolith.serving.rpc.server._SMALL_SECONDS": _LONG_SECONDS}
    server = self.start_sleeper(
      f"--body_timeout_in_ms={_LONG_SECONDS * 1000:.0f}", *flags
    )
    self.channel = self.connect(server)
    self.calls = self._stall(self.channel, method, count)
    counted = f"requests_in_flight {count:.1f}"
    self.eventually(True, lambda: self.has_metric(server, counted))
    return server

  def test_a_connection_that_stalls_stops_no_other(self):
    server = self._stalled(_PREDICT, 8, *_FOUR_PLACES)
    other = self.connect(server)
    self.assertEqual(self.sleep(other, 0.0), _Code.OK)
    self.assertFalse(any(call.done() for call in self.calls))

  def test_who_finds_no_place_is_told_so(self):
    server = self.start_sleeper(*_FOUR_PLACES, "--body_timeout_in_ms=1000")
    channel = self.connect(server)
    calls = self._stall(channel, _PREDICT, 8)
    ends = [(call.code(), call.details()) for call in calls]
    self.assertIn((_Code.DEADLINE_EXCEEDED, "no message within 1.0 s"), ends)
    refused = "1 messages of this connection are being received"
    self.assertTrue(
      any(c == _Code.RESOURCE_EXHAUSTED and refused in text for c, text in ends), ends
    )
    self.assertEqual(self.sleep(channel, 0.0), _Code.OK)

  def test_what_waits_for_a_place_is_not_kept_in_memory(self):
    server = self._stalled(_PREDICT, 4, *_FOUR_PLACES)
    before = server.resident_bytes()
    body = predict_request(seconds=np.zeros(_MESSAGE_BYTES // 8)).SerializeToString()
    waiting = [self.channel.unary_unary(_PREDICT).future(body) for _ in range(20)]
    counted = "requests_in_flight 24.0"
    self.eventually(True, lambda: self.has_metric(server, counted))
    time.sleep(3.0)  # What is not held back comes within one.
    self.assertFalse(any(call.done() for call in waiting))
    self.assertLess(server.resident_bytes() - before, 3 * _MESSAGE_BYTES)

  def test_other_methods_that_stall_stop_nobody(self):
    server = self._stalled(_CHECK, 20, "--max_concurrent_requests=1")
    other = self.connect(server)
    check = health_pb2_grpc.HealthStub(other).Check
    answer = check(health_pb2.HealthCheckRequest(), TIMEOUT)
    self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
    self.assertEqual(self.sleep(self.channel, 0.0), _Code.OK)
    self.assertFalse(any(call.done() for call in self.calls))

  def test_other_methods_stall_for_seconds(self):
    server = self.start_sleeper("--body_timeout_in_ms=120000")  # Of Predict.
    calls = self._stall(self.connect(server), _CHECK, 20)
    begin = time.monotonic()
    codes = {call.code() for call in calls}
    self.assertLess(time.monotonic() - begin, TIMEOUT)
    self.assertEqual(codes, {_Code.DEADLINE_EXCEEDED, _Code.RESOURCE_EXHAUSTED})

  def test_too_many_connections_are_closed(self):
    server = self.start_sleeper("--max_connections=2")
    address = ("127.0.0.1", server.port)
    with contextlib.ExitStack() as stack:
      for settings in (True, True, False):
        connection = stack.enter_context(socket.create_connection(address, TIMEOUT))
        self.assertEqual(bool(connection.recv(1)), settings)
    channel = self.connect(server)
    self.eventually(_Code.OK, lambda: self.sleep(channel, 0.0))


if __name__ == "__main__":
  absltest.main()
