"""What the server does not let happen: too much at once, too long, an abrupt end."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
from absl.testing import absltest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import (
  ITEMS,
  USERS,
  ExportedModel,
  export_sleeper,
)
from monolith.serving.testing.server_process import ServerProcess

_TIMEOUT = 60.0
_Code = grpc.StatusCode


class LimitsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = ExportedModel(os.path.join(absltest.TEST_TMPDIR.value, "model"))
    cls.model.train_and_export()

  def _start(self, *flags: str, base_path: str = "") -> ServerProcess:
    server = self.enter_context(
      ServerProcess(
        os.path.join(self.create_tempdir().full_path, "server.log"),
        "--model_name=two_heads",
        f"--model_base_path={base_path or self.model.base_path}",
        *flags,
      )
    )
    channel = self.enter_context(grpc.insecure_channel(server.address))
    self.health = health_pb2_grpc.HealthStub(channel)
    self.stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    return server

  def _predict(self, timeout: float = _TIMEOUT):
    return self.stub.Predict(predict_request(user=USERS, item=ITEMS), timeout)

  def _code(self, timeout: float = _TIMEOUT) -> grpc.StatusCode:
    try:
      self._predict(timeout)
      return _Code.OK
    except grpc.RpcError as error:
      return error.code()

  def _eventually(self, wanted, function) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while function() != wanted:
      self.assertLess(time.monotonic(), deadline, f"not {wanted}")
      time.sleep(0.05)

  def test_too_many_requests_are_refused_and_slow_ones_given_up(self):
    server = self._start("--max_concurrent_requests=1", "--rest_api_timeout_in_ms=3000")
    server.wait_until_ready()
    self.assertEqual(self._code(), _Code.OK)
    address = ("127.0.0.1", server.rest_port)
    with socket.create_connection(address, _TIMEOUT) as slow:
      slow.sendall(
        b"POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100\r\n\r\n"
      )
      self._eventually(_Code.RESOURCE_EXHAUSTED, self._code)
      url = f"{server.url}/v1/models/two_heads:predict"
      self.assertEqual(curl(url, "--data", "{}")[0], 429)
      self.assertStartsWith(slow.recv(1000), b"HTTP/1.1 504 ")
    self._eventually(_Code.OK, self._code)

  def _start_sleeper(self, *flags: str) -> ServerProcess:
    base_path = self.create_tempdir().full_path
    export_sleeper(base_path)
    return self._start(*flags, base_path=base_path).wait_until_ready()

  def _sleep(self, seconds: float, timeout: float = _TIMEOUT) -> grpc.StatusCode:
    try:
      self.stub.Predict(predict_request(seconds=np.array([seconds])), timeout)
      return _Code.OK
    except grpc.RpcError as error:
      return error.code()

  def _metric(self, server: ServerProcess, text: str) -> bool:
    return f"monolith_serving_{text}\n" in curl(f"{server.url}/metrics")[1]

  def test_deadlines(self):
    server = self._start_sleeper("--num_batch_threads=1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      running = pool.submit(self._sleep, 3.0)
      counted = "requests_in_flight 1.0"
      self._eventually(True, lambda: self._metric(server, counted))
      self.assertEqual(self._sleep(60.0, 0.5), _Code.DEADLINE_EXCEEDED)
      self.assertEqual(running.result(), _Code.OK)
    # It was given up before it was run, and holds up nobody.
    self.assertEqual(self._sleep(0.0, 10.0), _Code.OK)
    given_up = (
      'code="DEADLINE_EXCEEDED",method="Predict",model="two_heads",protocol="grpc"'
    )
    self.assertTrue(self._metric(server, f"requests_total{{{given_up}}} 1.0"))
    self.assertTrue(self._metric(server, "batch_examples_count 2.0"))
    self.assertTrue(self._metric(server, "requests_in_flight 0.0"))

  def test_a_stop_waits_for_what_was_begun(self):
    server = self._start_sleeper()
    url = f"{server.url}/v1/models/two_heads:predict"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      begun = [
        pool.submit(self._sleep, 3.0),
        pool.submit(curl, url, "--data", '{"instances": [3.0]}'),
      ]
      counted = "requests_in_flight 2.0"
      self._eventually(True, lambda: self._metric(server, counted))
      server.process.send_signal(signal.SIGTERM)
      self.assertEqual(begun[0].result(), _Code.OK)
      self.assertEqual(begun[1].result(), (200, '{"predictions":[3.0]}'))
    self.assertEqual(server.process.wait(_TIMEOUT), 0, server.log)
    self.assertNotIn("Traceback", server.log)

  def test_a_stop_gives_up_what_takes_too_long(self):
    server = self._start_sleeper("--shutdown_grace_seconds=1", "--num_batch_threads=1")
    url = f"{server.url}/v1/models/two_heads:predict"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      begun = [
        pool.submit(self._sleep, 600.0),
        pool.submit(self._sleep, 600.0),
        pool.submit(curl, url, "--data", '{"instances": [600.0]}'),
      ]
      counted = "requests_in_flight 3.0"
      self._eventually(True, lambda: self._metric(server, counted))
      server.process.send_signal(signal.SIGTERM)
      self.assertEqual(server.process.wait(_TIMEOUT), 1, server.log)
      for call in begun[:2]:
        self.assertEqual(call.result(), _Code.UNAVAILABLE)
      self.assertEqual(begun[2].result()[0], 503)
    self.assertIn("3 requests are given up", server.log)
    self.assertNotIn("Traceback", server.log)

  def test_a_stop_does_not_wait_for_a_model_that_is_loaded(self):
    base_path = self.create_tempdir().full_path
    export_sleeper(base_path, warm_up_seconds=600.0)
    server = self._start("--shutdown_grace_seconds=1", base_path=base_path)
    server.wait_until_ready("/health/live")
    server.process.send_signal(signal.SIGTERM)
    self.assertEqual(server.process.wait(_TIMEOUT), 0, server.log)
    self.assertIn("although a model is still being loaded", server.log)

  def test_bodies_are_bounded_together(self):
    server = self._start("--max_bytes_in_flight=20000").wait_until_ready()
    url = f"{server.url}/v1/models/two_heads:predict"
    address = ("127.0.0.1", server.rest_port)
    with socket.create_connection(address, _TIMEOUT) as slow:
      slow.sendall(
        b"POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100000\r\n\r\n" + b" " * 19_900
      )
      self._eventually(_Code.RESOURCE_EXHAUSTED, self._code)
      self.assertEqual(curl(url, "--data", " " * 200)[0], 429)
      self.assertEqual(curl(f"{server.url}/health")[0], 200)
      self.assertEqual(curl(url, "--data", "{}")[0], 400)
    self._eventually(_Code.OK, self._code)

  def test_a_message_that_does_not_come_is_given_up(self):
    server = self._start("--body_timeout_in_ms=500").wait_until_ready()
    with grpc.insecure_channel(server.address) as channel:
      method = "/tensorflow.serving.PredictionService/Predict"
      never = threading.Event()
      self.addCleanup(never.set)
      messages = (b"" for _ in iter(never.wait, True))
      with self.assertRaises(grpc.RpcError) as caught:
        channel.stream_unary(method)(messages)
    self.assertEqual(caught.exception.code(), _Code.DEADLINE_EXCEEDED)
    self.assertRegex(caught.exception.details(), "no message within 0.5 s")
    self.assertEqual(self._code(), _Code.OK)
    self.assertNotIn("Traceback", server.log)

  def test_too_many_connections(self):
    server = self._start("--max_connections=2").wait_until_ready()
    url = f"{server.url}/v1/models/two_heads:predict"
    address = ("127.0.0.1", server.rest_port)
    with contextlib.ExitStack() as idle:
      for _ in range(2):
        idle.enter_context(socket.create_connection(address, _TIMEOUT))
      self._eventually(429, lambda: curl(url, "--data", "{}")[0])
      self.assertEqual(curl(f"{server.url}/health")[0], 200)
      self.assertEqual(self._code(), _Code.OK)
      for _ in range(3):
        last = idle.enter_context(socket.create_connection(address, _TIMEOUT))
      last.settimeout(_TIMEOUT)
      self.assertEqual(last.recv(1), b"")  # The server has closed it.
    self._eventually(400, lambda: curl(url, "--data", "{}")[0])

  def test_the_health_is_told_at_the_limit(self):
    server = self._start_sleeper("--max_concurrent_requests=1")
    running = self.stub.Predict.future(predict_request(seconds=np.array([600.0])))
    self.addCleanup(running.cancel)
    counted = "requests_in_flight 1.0"
    self._eventually(True, lambda: self._metric(server, counted))
    self.assertEqual(self._sleep(0.0), _Code.RESOURCE_EXHAUSTED)
    check = health_pb2.HealthCheckRequest()
    for _ in range(10):
      self.assertEqual(
        self.health.Check(check).status, health_pb2.HealthCheckResponse.SERVING
      )

  def test_without_a_version_nothing_is_found(self):
    base_path = os.path.join(self.create_tempdir().full_path, "later")
    server = self._start(f"--model_base_path={base_path}")
    server.wait_until_ready("/health/live")
    serving = health_pb2.HealthCheckResponse
    check = health_pb2.HealthCheckRequest()
    self.assertEqual(self._code(), _Code.NOT_FOUND)
    self.assertEqual(self.health.Check(check).status, serving.NOT_SERVING)
    self.assertEqual(curl(f"{server.url}/health")[0], 503)
    url = f"{server.url}/v1/models/two_heads"
    self.assertEqual(curl(url)[0], 404)
    self.assertEqual(curl(f"{url}:predict", "--data", '{"inputs": 1}')[0], 404)
    self.assertIn("has no version of two_heads: there is no such folder", server.log)
    shutil.copytree(self.model.base_path, base_path)
    server.wait_until_ready()
    self.assertEqual(self._code(), _Code.OK)
    self.assertEqual(self.health.Check(check).status, serving.SERVING)
    check.service = "two_heads"
    self.assertEqual(self.health.Check(check).status, serving.SERVING)

  def test_files_are_not_what_bounds_connections(self):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    server = self._start().wait_until_ready()
    limit, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    self.assertEqual(limit, hard if 0 <= hard < 65_536 else 65_536)

  def test_only_this_machine_can_connect(self):
    server = self._start()
    server.wait_until_ready()
    for port in (server.port, server.rest_port):
      with self.assertRaises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), _TIMEOUT)

  def test_several_models_of_a_configuration(self):
    config = os.path.join(self.create_tempdir().full_path, "models.config")
    with open(config, "w", encoding="utf-8") as file:
      configs = "".join(
        f'config {{ name: "{name}" model_platform: "tensorflow" '
        f'base_path: "{self.model.base_path}" }} '
        for name in ("two_heads", "other")
      )
      file.write(f"model_config_list {{ {configs} }}")
    server = self._start("--model_base_path=", f"--model_config_file={config}")
    server.wait_until_ready()
    self.assertEqual(self._code(), _Code.OK)
    self.assertEqual(curl(f"{server.url}/v1/models/other")[0], 200)

  def test_wrong_flags_are_named(self):
    busy = self.enter_context(contextlib.closing(socket.socket()))
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    port = busy.getsockname()[1]
    path = f"--model_base_path={self.model.base_path}"
    for flags, pattern in (
      ((path, f"--port={port}"), f"cannot listen at 127.0.0.1:{port}"),
      ((path, "--port=0", f"--rest_api_port={port}"), "address already in use"),
      ((path, "--tls_key=/no/k", "--tls_certificate=/no/c"), "/no/[kc]"),
    ):
      with self.subTest(flags):
        command = [sys.executable, "-m", "monolith.serving.model_server", *flags]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(
          command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT
        )
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr + result.stdout, pattern)
        self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
  absltest.main()
