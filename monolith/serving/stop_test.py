"""What clients of a server notice when it is asked to stop."""

from __future__ import annotations

import collections
import http.client
import signal
import threading
import time
from collections.abc import Callable

import grpc
from absl.testing import absltest

from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.testing.server_test_case import TIMEOUT, ServerTestCase

_CLIENTS = 24
_STOPS = 2
_PAUSE_SECONDS = 0.003  # Of a client, between an answer and its next request.
_PREDICT = "/v1/models/two_heads:predict"
# What the server waits for clients that have paused, and for those that it has told to
# go elsewhere: far more than a thread of this test may wait for a processor.
_CONSTANTS = {
  "monolith.serving.server._QUIET_SECONDS": 2.0,
  "monolith.serving.server._HOLD_SECONDS": 5.0,
  "monolith.serving.server._RELEASE_SECONDS": 2.0,
  "monolith.serving.rest.connections._LAST_SECONDS": 2.0,
}


class StopTest(ServerTestCase):
  constants = _CONSTANTS

  def _stop_under_load(
    self, server: ServerProcess, client: Callable[[], Callable[[], object]]
  ) -> collections.Counter:
    """What clients, each of which asks again and again, get until the server is gone.

    Args:
      server: to stop.
      client: makes a function that asks once, and returns None when it was refused.
    """
    told = collections.Counter()
    ready = threading.Barrier(_CLIENTS + 1)

    def ask_until_it_is_gone() -> None:
      ask = client()
      ready.wait(TIMEOUT)
      while (answer := ask()) is not None:
        told[answer] += 1
        time.sleep(_PAUSE_SECONDS)

    threads = [threading.Thread(target=ask_until_it_is_gone) for _ in range(_CLIENTS)]
    for thread in threads:
      thread.start()
    ready.wait(TIMEOUT)
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
      thread.join(TIMEOUT)
    self.assertEqual(server.process.wait(TIMEOUT), 0, server.log)
    self.assertNotIn("Traceback", server.log)
    return told

  def test_no_request_of_grpc_is_dropped(self):
    for _ in range(_STOPS):
      server = self.start_sleeper()

      def client(server: ServerProcess = server) -> Callable[[], object]:
        channel = self.connect(server)
        self.assertEqual(self.sleep(channel, 0.0), grpc.StatusCode.OK)
        gone = grpc.StatusCode.UNAVAILABLE  # Clients ask another server then.

        def ask() -> object:
          code = self.sleep(channel, 0.0)
          return None if code == gone else code

        return ask

      told = self._stop_under_load(server, client)
      self.assertCountEqual(told, [grpc.StatusCode.OK])

  def test_no_request_of_http_is_dropped(self):
    for _ in range(_STOPS):
      server = self.start_sleeper()

      def client(server: ServerProcess = server) -> Callable[[], object]:
        connection = http.client.HTTPConnection(
          "127.0.0.1", server.rest_port, timeout=TIMEOUT
        )
        self.addCleanup(connection.close)

        def ask() -> object:
          try:
            if connection.sock is None:
              connection.connect()
          except ConnectionRefusedError:
            return None
          try:
            connection.request("POST", _PREDICT, b'{"instances": [0.0]}')
            return connection.getresponse().read()
          except (ConnectionError, http.client.HTTPException) as error:
            connection.close()
            return type(error)

        ask()
        return ask

      told = self._stop_under_load(server, client)
      self.assertCountEqual(told, [b'{"predictions":[0.0]}'])


if __name__ == "__main__":
  absltest.main()
