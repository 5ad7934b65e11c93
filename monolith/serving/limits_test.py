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
from unittest import mock

import grpc
import numpy as np
from absl import logging
from absl.testing import absltest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith.serving import model_server
from monolith.serving.server import ServerOptions
from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import (
  ITEMS,
  USERS,
  ExportedModel,
  export_sleeper,
)
from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.testing.server_test_case import TIMEOUT, ServerTestCase

_Code = grpc.StatusCode


class LimitsTest(ServerTestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = ExportedModel(os.path.join(absltest.TEST_TMPDIR.value, "model"))
    cls.model.train_and_export()

  def start(self, base_path: str, *flags: str) -> ServerProcess:
    server = super().start(base_path, *flags)
    self.channel = self.connect(server)
    self.health = health_pb2_grpc.HealthStub(self.channel)
    self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
    return server

  def _start(self, *flags: str) -> ServerProcess:
    return self.start(self.model.base_path, *flags)

  def _predict(self, timeout: float = TIMEOUT):
    return self.stub.Predict(predict_request(user=USERS, item=ITEMS), timeout)

  def _code(self, timeout: float = TIMEOUT) -> grpc.StatusCode:
    try:
      self._predict(timeout)
      return _Code.OK
    except grpc.RpcError as error:
      return error.code()

  def test_too_many_requests_are_refused_and_slow_ones_given_up(self):
    server = self._start(
      "--max_concurrent_requests=1", "--rest_api_timeout_in_ms=10000"
    )
    server.wait_until_ready()
    self.assertEqual(self._code(), _Code.OK)
    # A request counts until its answer is written, and the next one would be refused.
    idle = "requests_in_flight 0.0"
    self.eventually(True, lambda: self.has_metric(server, idle))
    address = ("127.0.0.1", server.rest_port)
    with socket.create_connection(address, TIMEOUT) as slow:
      slow.sendall(
        b"POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100\r\n\r\n"
      )
      begun = "requests_in_flight 1.0"
      self.eventually(True, lambda: self.has_metric(server, begun))
      self.assertEqual(self._code(), _Code.RESOURCE_EXHAUSTED)
      url = f"{server.url}/v1/models/two_heads:predict"
      self.assertEqual(curl(url, "--data", "{}")[0], 429)
      self.assertStartsWith(slow.recv(1000), b"HTTP/1.1 504 ")
    self.eventually(_Code.OK, self._code)

  def _sleep(self, seconds: float, timeout: float = TIMEOUT) -> grpc.StatusCode:
    return self.sleep(self.channel, seconds, timeout)

  def test_deadlines(self):
    # The client gives up before the server does, by what the request took to arrive.
    self.constants = {"monolith.serving.rpc.server._DEADLINE_SECONDS": 1.5}
    server = self.start_sleeper("--num_batch_threads=1")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      running = pool.submit(self._sleep, 15.0)
      begun = "batch_examples_count 1.0"
      self.eventually(True, lambda: self.has_metric(server, begun))
      self.assertEqual(self._sleep(60.0, 2.0), _Code.DEADLINE_EXCEEDED)
      self.assertEqual(running.result(), _Code.OK)
    # It was given up before it was run, and holds up nobody.
    self.assertEqual(self._sleep(0.0, 30.0), _Code.OK)
    given_up = (
      'code="DEADLINE_EXCEEDED",method="Predict",model="two_heads",protocol="grpc"'
    )
    self.assertTrue(self.has_metric(server, f"requests_total{{{given_up}}} 1.0"))
    self.assertTrue(self.has_metric(server, "batch_examples_count 2.0"))
    idle = "requests_in_flight 0.0"
    self.eventually(True, lambda: self.has_metric(server, idle))

  def test_a_stop_waits_for_what_was_begun(self):
    server = self.start_sleeper("--num_batch_threads=2")
    url = f"{server.url}/v1/models/two_heads:predict"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
      begun = [
        pool.submit(self._sleep, 10.0),
        pool.submit(curl, url, "--data", '{"instances": [10.0]}'),
      ]
      counted = "requests_in_flight 2.0"
      self.eventually(True, lambda: self.has_metric(server, counted))
      server.process.send_signal(signal.SIGTERM)
      self.assertEqual(begun[0].result(), _Code.OK)
      self.assertEqual(begun[1].result(), (200, '{"predictions":[10.0]}'))
    self.assertEqual(server.process.wait(TIMEOUT), 0, server.log)
    self.assertNotIn("Traceback", server.log)

  def test_a_stop_gives_up_what_takes_too_long(self):
    server = self.start_sleeper("--shutdown_grace_seconds=1", "--num_batch_threads=1")
    url = f"{server.url}/v1/models/two_heads:predict"
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      begun = [
        pool.submit(self._sleep, 600.0),
        pool.submit(self._sleep, 600.0),
        pool.submit(curl, url, "--data", '{"instances": [600.0]}'),
      ]
      counted = "requests_in_flight 3.0"
      self.eventually(True, lambda: self.has_metric(server, counted))
      server.process.send_signal(signal.SIGTERM)
      self.assertEqual(server.process.wait(TIMEOUT), 1, server.log)
      for call in begun[:2]:
        self.assertEqual(call.result(), _Code.UNAVAILABLE)
      self.assertEqual(begun[2].result()[0], 503)
    self.assertIn("3 requests are given up", server.log)
    self.assertNotIn("Traceback", server.log)

  def test_a_stop_does_not_wait_for_a_model_that_is_loaded(self):
    base_path = self.create_tempdir().full_path
    export_sleeper(base_path, warm_up_seconds=600.0)
    server = self.start(base_path, "--shutdown_grace_seconds=1")
    server.wait_until_ready("/health/live")
    server.process.send_signal(signal.SIGTERM)
    self.assertEqual(server.process.wait(TIMEOUT), 0, server.log)
    self.assertIn("although a model is still being loaded", server.log)

  def test_bodies_are_bounded_together(self):
    server = self._start("--max_bytes_in_flight=20000").wait_until_ready()
    url = f"{server.url}/v1/models/two_heads:predict"
    address = ("127.0.0.1", server.rest_port)
    with socket.create_connection(address, TIMEOUT) as slow:
      slow.sendall(
        b"POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Length: 100000\r\n\r\n" + b" " * 19_900
      )
      # A request before it would leave it no room.
      begun = "requests_in_flight 1.0"
      self.eventually(True, lambda: self.has_metric(server, begun))
      self.eventually(_Code.RESOURCE_EXHAUSTED, self._code)
      self.assertEqual(curl(url, "--data", " " * 200)[0], 429)
      self.assertEqual(curl(f"{server.url}/health")[0], 200)
      self.assertEqual(curl(url, "--data", "{}")[0], 400)
    self.eventually(_Code.OK, self._code)

  def test_what_a_small_message_becomes_is_bounded(self):
    self._start("--max_bytes_in_flight=1000000").wait_until_ready()
    request = predict_request(user=USERS[:1], item=ITEMS[:1])
    # The answer has half as many bytes as the inputs.
    for count, wanted in ((50_000, _Code.OK), (100_000, _Code.RESOURCE_EXHAUSTED)):
      for tensor in request.inputs.values():
        tensor.tensor_shape.dim[0].size = count
      code = _Code.OK
      try:
        self.stub.Predict(request, TIMEOUT)
      except grpc.RpcError as error:
        code = error.code()
      self.assertEqual(code, wanted)

  def test_what_json_becomes_is_bounded(self):
    server = self.start_sleeper("--max_bytes_in_flight=1000000")
    url = f"{server.url}/v1/models/two_heads:predict"
    file = self.create_tempfile().full_path
    for count, wanted in ((100_000, 200), (150_000, 429)):
      with open(file, "w", encoding="utf-8") as body:
        body.write('{"inputs":[' + ",".join(["0"] * count) + "]}")
      self.assertEqual(curl(url, "--data-binary", f"@{file}")[0], wanted)

  def test_what_is_refused_is_freed(self):
    server = self.start_sleeper()
    request = predict_request(seconds=np.zeros(1))
    for size in (1_000_000, 2):  # A value that is to be repeated, in 16 MB.
      request.inputs["seconds"].tensor_shape.dim.add().size = size
    del request.inputs["seconds"].tensor_shape.dim[0]
    url = f"{server.url}/v1/models/two_heads:predict"
    file = self.create_tempfile().full_path
    with open(file, "w", encoding="utf-8") as body:
      body.write('{"inputs": "%s"}' % ("x" * 4_000_000))

    def send(count: int) -> int:
      for _ in range(count):
        with self.assertRaisesRegex(grpc.RpcError, r"got shape \[1000000, 2\]"):
          self.stub.Predict(request, TIMEOUT)
        self.assertEqual(curl(url, "--data-binary", f"@{file}")[0], 400)
      return server.resident_bytes()

    # Python would look for garbage, and find it, only after hundreds.
    before = send(5)
    self.assertLess(send(40) - before, 200_000_000)

  def test_bodies_of_http_have_a_limit_of_their_own(self):
    server = self.start_sleeper()
    url = f"{server.url}/v1/models/two_heads:predict"
    file = self.create_tempfile().full_path
    for size, wanted in ((4 * 2**20, 200), (4 * 2**20 + 1, 413)):
      with open(file, "wb") as body:
        body.write(b'{"instances": [0.0]}'.ljust(size))
      status, answer = curl(url, "--data-binary", f"@{file}")
      self.assertEqual(status, wanted, answer)
    self.assertIn("larger than 4194304 bytes", answer)
    larger = predict_request(seconds=np.zeros(2**20))
    self.assertLen(self.stub.Predict(larger, TIMEOUT).outputs, 1)

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

  def test_the_health_is_told_at_the_limit(self):
    server = self.start_sleeper("--max_concurrent_requests=1")
    running = self.stub.Predict.future(predict_request(seconds=np.array([600.0])))
    self.addCleanup(running.cancel)
    counted = "requests_in_flight 1.0"
    self.eventually(True, lambda: self.has_metric(server, counted))
    self.assertEqual(self._sleep(0.0), _Code.RESOURCE_EXHAUSTED)
    check = health_pb2.HealthCheckRequest()
    for _ in range(10):
      self.assertEqual(
        self.health.Check(check).status, health_pb2.HealthCheckResponse.SERVING
      )

  def test_without_a_version_nothing_is_found(self):
    base_path = os.path.join(self.create_tempdir().full_path, "later")
    server = self.start(base_path)
    server.wait_until_ready("/health/live")
    serving = health_pb2.HealthCheckResponse
    check = health_pb2.HealthCheckRequest()
    self.assertEqual(self._code(), _Code.NOT_FOUND)
    self.assertEqual(self.health.Check(check).status, serving.NOT_SERVING)
    self.assertEqual(curl(f"{server.url}/health")[0], 503)
    url = f"{server.url}/v1/models/two_heads"
    self.assertEqual(curl(url)[0], 404)
    self.assertEqual(curl(f"{url}:predict", "--data", '{"inputs": 1}')[0], 404)
    told = "has no version of two_heads: there is no such folder"
    self.eventually(True, lambda: told in server.log)
    shutil.copytree(self.model.base_path, base_path + ".tmp")
    os.rename(base_path + ".tmp", base_path)
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

  def test_fewer_files_than_connections_may_need_are_told(self):
    options = ServerOptions([], rest_api_port=8501)
    enough = 3 * options.limits.max_connections + 128
    for most, messages in ((enough, []), (4000, ["--max_connections=1290"])):
      with (
        mock.patch.object(resource, "getrlimit", return_value=(100, most)),
        mock.patch.object(resource, "setrlimit") as set_limit,
        mock.patch.object(logging, "warning") as warn,
      ):
        model_server._allow_many_connections(options)
      set_limit.assert_called_once_with(resource.RLIMIT_NOFILE, (most, most))
      warnings = [call.args[0] % call.args[1:] for call in warn.call_args_list]
      self.assertLen(warnings, len(messages))
      for warning, message in zip(warnings, messages, strict=True):
        self.assertStartsWith(warning, f"this process may open {most} files, but with")
        self.assertEndsWith(warning, message)

  def test_only_this_machine_can_connect(self):
    server = self._start()
    server.wait_until_ready()
    for port in (server.port, server.rest_port):
      with self.assertRaises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), TIMEOUT)

  def test_several_models_of_a_configuration(self):
    config = os.path.join(self.create_tempdir().full_path, "models.config")
    with open(config, "w", encoding="utf-8") as file:
      configs = "".join(
        f'config {{ name: "{name}" model_platform: "tensorflow" '
        f'base_path: "{self.model.base_path}" }} '
        for name in ("two_heads", "other")
      )
      file.write(f"model_config_list {{ {configs} }}")
    server = self.start("", f"--model_config_file={config}")
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
      (
        (path, f"--port={port}"),
        f"--port: cannot listen at 127.0.0.1:{port} for gRPC: Address already in use",
      ),
      (
        (path, "--port=0", f"--rest_api_port={port}"),
        f"--rest_api_port: cannot listen at .* {port}, for HTTP: Address already in",
      ),
      ((path, "--tls_key=/no/k", "--tls_certificate=/no/c"), "/no/[kc]"),
    ):
      with self.subTest(flags):
        command = [sys.executable, "-m", "monolith.serving.model_server", *flags]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(
          command, capture_output=True, text=True, env=environment, timeout=TIMEOUT
        )
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr + result.stdout, pattern)
        self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
  absltest.main()
