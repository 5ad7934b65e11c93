"""Whatever is sent, the server answers with the right error and lives."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import socket

import grpc
import numpy as np
import orjson
import tensorflow as tf
from absl.testing import absltest
from google.protobuf import message
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from monolith.native_training.data.example_parsing import serialize_one
from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import ITEMS, USERS, ExportedModel
from monolith.serving.testing.server_process import ServerProcess

_TIMEOUT = 30.0
_MAX_BYTES = 1_000_000
_MUTATIONS = 1000
_WARM_UP_MUTATIONS = 300
# What each mutated request carries besides, so that one in four that is not freed is
# more than the memory may grow by.
_BALLAST = b"x" * 65_536
_MAX_GROWTH_BYTES = 16_000_000
_Code = grpc.StatusCode


def _mutate(rng: np.random.Generator, body: bytes) -> bytes:
  """A body with one to four random edits."""
  data = bytearray(body)
  for _ in range(rng.integers(1, 5)):
    at = int(rng.integers(0, len(data) + 1))
    size = int(rng.integers(1, 9))
    kind = rng.integers(0, 5)
    if kind == 0:
      data[at : at + 1] = bytes([rng.integers(0, 256)])
    elif kind == 1:
      del data[at : at + size]
    elif kind == 2:
      data[at:at] = rng.bytes(size)
    elif kind == 3:
      data[at:at] = data[at // 2 : at // 2 + 8 * size]
    else:
      del data[at:]
  return bytes(data)


class BadInputTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = absltest.TEST_TMPDIR.value
    cls.model = ExportedModel(os.path.join(folder, "model"))
    cls.version = cls.model.train_and_export()
    cls.expected = cls.model.predict()
    cls.server = cls.enter_context(
      ServerProcess(
        os.path.join(folder, "server.log"),
        "--model_name=two_heads",
        f"--model_base_path={cls.model.base_path}",
        f"--max_request_bytes={_MAX_BYTES}",
        "--enable_batching",
      )
    )
    cls.server.wait_until_ready()
    cls.channel = cls.enter_context(grpc.insecure_channel(cls.server.address))
    cls.stub = prediction_service_pb2_grpc.PredictionServiceStub(cls.channel)
    cls.raw = cls.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

  def setUp(self):
    super().setUp()
    self.request = predict_request(user=USERS, item=ITEMS)

  def tearDown(self):
    """A good request is answered after each bad one."""
    response = self.stub.Predict(predict_request(user=USERS, item=ITEMS), _TIMEOUT)
    np.testing.assert_array_equal(
      tf.make_ndarray(response.outputs["score"]), self.expected["score"]
    )
    super().tearDown()

  def _refused(self, method, request, code: grpc.StatusCode, pattern: str) -> None:
    with self.assertRaises(grpc.RpcError) as caught:
      method(request, timeout=_TIMEOUT)
    self.assertEqual(caught.exception.code(), code, caught.exception.details())
    self.assertRegex(caught.exception.details(), pattern)

  def _predict_refused(self, code: grpc.StatusCode, pattern: str) -> None:
    self._refused(self.stub.Predict, self.request, code, pattern)

  def _http(
    self, method: str, path: str, body: bytes | None = None, **headers: str
  ) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(
      "127.0.0.1", self.server.rest_port, timeout=_TIMEOUT
    )
    try:
      connection.request(method, path, body, headers)
      response = connection.getresponse()
      return response.status, response.read()
    finally:
      connection.close()

  def _post(self, document, model: str = "two_heads") -> tuple[int, str]:
    status, body = self._http(
      "POST", f"/v1/models/{model}:predict", json.dumps(document).encode()
    )
    return status, json.loads(body)["error"]

  def test_unknown_models_and_versions(self):
    self.request.model_spec.name = "other"
    self._predict_refused(_Code.NOT_FOUND, r"Latest\(other\)")
    self.request.model_spec.name = "two_heads"
    self.request.model_spec.version.value = 7
    self._predict_refused(_Code.NOT_FOUND, r"Specific\(two_heads, 7\)")
    self.request.model_spec.version_label = "stable"
    self._predict_refused(_Code.INVALID_ARGUMENT, "label: stable")
    self.request.model_spec.name = ""
    self._predict_refused(_Code.INVALID_ARGUMENT, "no name specified")
    self.request.ClearField("model_spec")
    self._predict_refused(_Code.INVALID_ARGUMENT, "Missing ModelSpec")
    status, error = self._post({"instances": [1]}, "other")
    self.assertEqual(
      (status, error), (404, "Servable not found for request: Latest(other)")
    )
    for version, wanted in ((7, 404), (2**63, 400), ("1" * 5000, 400)):
      path = f"/v1/models/two_heads/versions/{version}"
      self.assertEqual(self._http("GET", path)[0], wanted)
    status_request = get_model_status_pb2.GetModelStatusRequest()
    status_request.model_spec.name = "other"
    method = model_service_pb2_grpc.ModelServiceStub(self.channel).GetModelStatus
    self._refused(method, status_request, _Code.NOT_FOUND, "other")

  def test_long_names_are_told_in_part(self):
    for character in ("a", "%", "é", "😀"):
      for count in range(2000, 2020):  # gRPC refuses some of what is too long.
        self.request.model_spec.name = character * count
        pattern = rf"Latest\({character * 400}.*{character}\.\.\.$"
        self._predict_refused(_Code.NOT_FOUND, pattern)

  def test_unknown_signatures_outputs_and_metadata(self):
    self.request.model_spec.signature_name = "other"
    self._predict_refused(_Code.FAILED_PRECONDITION, '"other" not found')
    self.request.model_spec.signature_name = ""
    self.request.output_filter.append("scores")
    self._predict_refused(_Code.INVALID_ARGUMENT, "scores.*{click,score}")
    self.request.output_filter[:] = ["score", "score"]
    self._predict_refused(_Code.INVALID_ARGUMENT, "duplicate output.*: score")
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = "two_heads"
    method = self.stub.GetModelMetadata
    self._refused(method, metadata, _Code.INVALID_ARGUMENT, "at least one")
    metadata.metadata_field.append("weights")
    self._refused(method, metadata, _Code.INVALID_ARGUMENT, "weights")

  def test_missing_features_wrong_dtypes_and_shapes(self):
    del self.request.inputs["item"]
    self._predict_refused(_Code.INVALID_ARGUMENT, r"Missing but required: \{item\}")
    self.request.inputs["item"].CopyFrom(tf.make_tensor_proto(ITEMS.astype(np.float32)))
    self._predict_refused(_Code.INVALID_ARGUMENT, "'item'.*int64 but float")
    self.request.inputs["item"].CopyFrom(tf.make_tensor_proto(ITEMS[:3]))
    self._predict_refused(_Code.INVALID_ARGUMENT, "item: 3, user: 64")
    self.request.inputs["item"].CopyFrom(tf.make_tensor_proto(ITEMS[:, 0]))
    self._predict_refused(_Code.INVALID_ARGUMENT, r"'item': got shape \[64\]")
    status, error = self._post({"instances": [{"user": [1]}]})
    self.assertEqual(status, 400)
    self.assertIn("Missing but required: {item}", error)
    status, error = self._post({"instances": [{"user": [1.5], "item": [1]}]})
    self.assertEqual(status, 400)
    self.assertIn("not of expected type: int64", error)

  def test_oversized_requests(self):
    many = np.zeros((_MAX_BYTES, 1), np.int64)
    self.request = predict_request(user=many, item=many)
    self._predict_refused(_Code.RESOURCE_EXHAUSTED, "larger than max")
    self.request = predict_request(user=USERS[:1], item=ITEMS[:1])
    for value in self.request.inputs.values():
      value.tensor_shape.dim[0].size = 2**40  # A value that is to be repeated.
    self._predict_refused(_Code.INVALID_ARGUMENT, "more than 1000000 bytes")
    batch = np.zeros((5000, 1), np.int64)
    self.request = predict_request(user=batch, item=batch)
    self._predict_refused(_Code.INVALID_ARGUMENT, "Task size 5000 is larger")
    path = "/v1/models/two_heads:predict"
    self.assertEqual(self._http("POST", path, b" " * (_MAX_BYTES + 1))[0], 413)
    bomb = gzip.compress(b" " * 100 * _MAX_BYTES)
    self.assertLess(len(bomb), _MAX_BYTES)
    status, _ = self._http("POST", path, bomb, **{"Content-Encoding": "gzip"})
    self.assertEqual(status, 413)

  def test_bodies_that_cannot_be_decompressed(self):
    wanted = "Content-Encoding: wanted gzip or deflate"
    junk = b"none of these"
    for encoding, sent, error in (
      ("gzip", junk, "the body is no gzip, as it says"),
      ("gzip", gzip.compress(b"{}")[:-5], "the body is no whole gzip, as it says"),
      ("deflate", junk, "the body is no deflate, as it says"),
      ("br", junk, wanted),
      ("zstd", junk, wanted),
      ("gzip, gzip", gzip.compress(gzip.compress(b"{}")), wanted),
    ):
      headers = {"Content-Encoding": encoding}
      path = "/v1/models/two_heads:predict"
      status, body = self._http("POST", path, sent, **headers)
      self.assertEqual(status, 400)
      self.assertStartsWith(json.loads(body)["error"], error)

  def test_malformed_messages(self):
    good = self.request.SerializeToString()
    for body in (b"\xff", good[:-1], b"\n" + good):
      pattern = "is no tensorflow.serving.PredictRequest"
      self._refused(self.raw, body, _Code.INTERNAL, pattern)
    self._refused(self.raw, b"", _Code.INVALID_ARGUMENT, "Missing ModelSpec")
    none = self.channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
    self._refused(none, iter(()), _Code.INTERNAL, "no message")
    method = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predicts")
    self._refused(method, good, _Code.UNIMPLEMENTED, "Method not found")

  def test_truncated_examples(self):
    # Of ids like these nearly all bytes are no text, and TensorFlow quotes them.
    example = serialize_one({"user": [7205372362837258958], "item": [2**63 - 1]})
    self.request.model_spec.signature_name = "examples"
    self.request.ClearField("inputs")
    log = self.server.log
    for size in range(len(example) - 1, 0, -5):
      text = example[:size]
      self.request.inputs["examples"].CopyFrom(tf.make_tensor_proto([text]))
      pattern = "Could not parse|is required but could not be found"
      self._predict_refused(_Code.INVALID_ARGUMENT, pattern)
      instance = {"b64": base64.b64encode(text).decode()}
      document = {"signature_name": "examples", "instances": [instance]}
      status, error = self._post(document)
      self.assertEqual(status, 400)
      self.assertRegex(error, pattern)
    self.assertNotIn("Traceback", self.server.log[len(log) :])

  def test_malformed_http(self):
    rest = b" HTTP/1.1\r\nHost: localhost\r\n"
    malformed = b"Malformed request"
    for request, answer in (
      (b"GARBAGE\r\n\r\n", b""),
      (b"GET /v1/models/two_heads HTTP/1.1\r\nHost\r\n\r\n", b""),
      (b"GET /" + b"x" * 100_000 + rest + b"\r\n", b""),
      (b"POST /v1/models/two_heads" + rest + b"Content-Length: -1\r\n\r\n", b""),
      (b"DELETE /v1/models/two_heads" + rest + b"\r\n", malformed),
      (b"GET /v1/models" + rest + b"\r\n", malformed),
      (b"POST /v1/models/two_heads:train" + rest + b"\r\n", malformed),
      (b"POST /v1/models/two_heads:predict" + rest + b"\r\n", b"JSON Parse Error"),
      (
        b"POST /v1/models/two_heads:predict"
        + rest
        + b'Content-Length: 43\r\n\r\n{"signature_name": "\\ud800", "inputs": NaN}',
        b'key \\"?\\" not found',
      ),
    ):
      with self.subTest(request[:60]):
        got = self._talk(request, answer)
        self.assertEqual(got.split(b" ")[1], b"400", got)
        self.assertIn(answer, got)
    self.assertNotIn("Traceback", self.server.log)

  def _talk(self, request: bytes, wanted: bytes) -> bytes:
    """What is answered to raw bytes, up to what is wanted or the end."""
    address = ("127.0.0.1", self.server.rest_port)
    with socket.create_connection(address, _TIMEOUT) as connection:
      connection.sendall(request)
      got = connection.recv(65536)
      while wanted not in got and (more := connection.recv(65536)):
        got += more
      return got

  def test_truncated_http_and_garbage_for_grpc(self):
    head = b"POST /v1/models/two_heads:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Length: 100\r\n\r\n"
    for port, data in (
      (self.server.rest_port, head + b'{"instances": ['),
      (self.server.rest_port, head[:30]),
      (self.server.rest_port, b""),
      (self.server.port, os.urandom(1000)),
      (self.server.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + os.urandom(1000)),
      (self.server.port, b"GET / HTTP/1.1\r\n\r\n"),
    ):
      with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as connection:
        connection.sendall(data)
    # Waits until the server has seen that they are gone.
    metrics = f"{self.server.url}/metrics"
    idle = "monolith_serving_requests_in_flight 0.0"
    self.server.wait_until(lambda: idle in curl(metrics)[1])
    self.assertNotIn("Traceback", self.server.log)

  def test_mutated_messages(self):
    rng = np.random.default_rng(1)
    good = self.request.SerializeToString()
    # A field that the message does not have: number 1000, of bytes.
    ballast = b"\xc2\x3e\x80\x80\x04" + _BALLAST
    predict_pb2.PredictRequest.FromString(ballast)
    codes = set()

    def send(count: int) -> int:
      for _ in range(count):
        body = ballast + _mutate(rng, good)
        try:
          predict_pb2.PredictRequest.FromString(body)
          is_message = True
        except message.DecodeError:
          is_message = False
        try:
          self.raw(body, timeout=_TIMEOUT)
          code = _Code.OK
        except grpc.RpcError as error:
          code = error.code()
        codes.add(code)
        if is_message:
          self.assertNotIn(code, (_Code.INTERNAL, _Code.UNKNOWN), body[-5000:])
        else:
          self.assertEqual(code, _Code.INTERNAL, body[-5000:])
      return self.server.resident_bytes()

    before = send(_WARM_UP_MUTATIONS)
    self.assertLess(send(_MUTATIONS) - before, _MAX_GROWTH_BYTES)
    self.assertContainsSubset({_Code.OK, _Code.INVALID_ARGUMENT}, codes)
    self.assertNotIn(_Code.UNAVAILABLE, codes)
    self.assertNotIn("internal error", self.server.log)

  def test_mutated_bodies(self):
    rng = np.random.default_rng(2)
    rows = [
      {"user": user, "item": item}
      for user, item in zip(USERS.tolist(), ITEMS.tolist(), strict=True)
    ]
    good = json.dumps({"instances": rows[:8]}).encode().removeprefix(b"{")
    ballast = b'{"ballast": "' + _BALLAST + b'", '
    statuses = set()

    def send(count: int) -> int:
      for _ in range(count):
        body = ballast + _mutate(rng, good)
        status, answer = self._http("POST", "/v1/models/two_heads:predict", body)
        statuses.add(status)
        self.assertIn(status, (200, 400), body[-5000:])
        document = orjson.loads(answer)
        self.assertIn("predictions" if status == 200 else "error", document)
      return self.server.resident_bytes()

    before = send(_WARM_UP_MUTATIONS)
    self.assertLess(send(_MUTATIONS) - before, _MAX_GROWTH_BYTES)
    self.assertEqual(statuses, {200, 400})


if __name__ == "__main__":
  absltest.main()
