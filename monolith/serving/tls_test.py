"""With certificates, nothing is answered without them."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess

import grpc
from absl.testing import absltest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith.serving.testing.clients import predict_request
from monolith.serving.testing.exported_model import ITEMS, USERS, ExportedModel
from monolith.serving.testing.server_process import ServerProcess
from monolith.serving.tls import TlsFiles

_TIMEOUT = 30.0


class TlsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = absltest.TEST_TMPDIR.value
    cls.model = ExportedModel(os.path.join(cls.folder, "model"))
    cls.model.train_and_export()
    cls._openssl("req", "-x509", "-subj", "/CN=authority", *cls._new_key("authority"))
    for name in ("server", "client"):
      cls._openssl(
        *("req", "-x509", "-CA", cls._path("authority.pem")),
        *("-CAkey", cls._path("authority.key"), "-subj", f"/CN={name}"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *cls._new_key(name),
      )

  @classmethod
  def _path(cls, name: str) -> str:
    return os.path.join(cls.folder, name)

  @classmethod
  def _new_key(cls, name: str) -> list[str]:
    key, certificate = cls._path(f"{name}.key"), cls._path(f"{name}.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    return [*kind, "-keyout", key, "-out", certificate, "-days", "2"]

  @staticmethod
  def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

  @classmethod
  def _read(cls, name: str) -> bytes:
    with open(cls._path(name), "rb") as file:
      return file.read()

  def _start(self, *flags: str, tls: bool = True) -> ServerProcess:
    if tls:
      flags += (
        f"--tls_certificate={self._path('server.pem')}",
        f"--tls_key={self._path('server.key')}",
      )
    server = self.enter_context(
      ServerProcess(
        os.path.join(self.create_tempdir().full_path, "server.log"),
        "--model_name=two_heads",
        f"--model_base_path={self.model.base_path}",
        *flags,
      )
    )
    server.wait_until(lambda: "is loaded" in server.log)
    return server

  def _rpc(self, server: ServerProcess, credentials) -> grpc.StatusCode:
    address = f"localhost:{server.port}"
    if credentials:
      channel = grpc.secure_channel(address, credentials)
    else:
      channel = grpc.insecure_channel(address)
    with channel:
      stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
      try:
        stub.Predict(predict_request(user=USERS, item=ITEMS), _TIMEOUT)
        return grpc.StatusCode.OK
      except grpc.RpcError as error:
        return error.code()

  def _curl(self, server: ServerProcess, *arguments: str) -> int:
    """curl's exit code."""
    url = f"https://localhost:{server.rest_port}/v1/models/two_heads"
    command = ["curl", "--silent", "--fail", *arguments, url]
    return subprocess.run(command, capture_output=True, timeout=_TIMEOUT).returncode

  def test_wrong_files_are_named(self):
    junk, locked = self._path("junk.pem"), self._path("locked.key")
    with open(junk, "wb") as file:
      file.write(b"junk")
    key, other = self._path("server.key"), self._path("client.key")
    password = ("-passout", "pass:secret")
    self._openssl("pkcs8", "-topk8", *password, "-in", key, "-out", locked)
    own = self._path("server.pem")
    for files, wrong in (
      (TlsFiles(own, other), (own, other)),
      (TlsFiles(junk, key), (junk, key)),
      (TlsFiles(own, junk), (own, junk)),
      (TlsFiles(own, locked), (own, locked)),
      (TlsFiles(own, key, junk), (junk,)),
      (TlsFiles(own, "/no/key"), ("--tls_key=/no/key cannot be read: No such file",)),
    ):
      for function in (files.grpc_credentials, files.context):
        with self.assertRaises(OSError) as caught:
          function()
        for path in wrong:
          self.assertIn(path, str(caught.exception))

  def test_the_servers_certificate(self):
    server = self._start()
    authority = self._read("authority.pem")
    ok, refused = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
    self.assertEqual(self._rpc(server, grpc.ssl_channel_credentials(authority)), ok)
    self.assertEqual(self._rpc(server, grpc.ssl_channel_credentials()), refused)
    self.assertEqual(self._rpc(server, None), refused)
    self.assertEqual(self._curl(server, "--cacert", self._path("authority.pem")), 0)
    self.assertNotEqual(self._curl(server), 0)

  def test_the_clients_certificate(self):
    server = self._start(f"--tls_client_authority={self._path('authority.pem')}")
    authority = self._read("authority.pem")
    ok, refused = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE
    own = (self._read("client.key"), self._read("client.pem"))
    credentials = grpc.ssl_channel_credentials(authority, *own)
    self.assertEqual(self._rpc(server, credentials), ok)
    self.assertEqual(
      self._rpc(server, grpc.ssl_channel_credentials(authority)), refused
    )
    trust = ("--cacert", self._path("authority.pem"))
    mine = ("--cert", self._path("client.pem"), "--key", self._path("client.key"))
    self.assertEqual(self._curl(server, *trust, *mine), 0)
    self.assertNotEqual(self._curl(server, *trust), 0)

  def test_silent_connections_count_and_are_closed(self):
    server = self._start("--max_connections=2")
    address = ("127.0.0.1", server.rest_port)
    with contextlib.ExitStack() as stack:
      silent = [
        stack.enter_context(socket.create_connection(address, _TIMEOUT))
        for _ in range(4)
      ]
      for _ in range(3):
        with socket.create_connection(address, _TIMEOUT) as beyond:
          self.assertEqual(beyond.recv(1), b"")  # The server has closed it.
      silent[0].setblocking(False)
      with self.assertRaises(BlockingIOError):  # It is still open.
        silent[0].recv(1)
      silent[0].settimeout(_TIMEOUT)
      for connection in silent:
        self.assertEqual(connection.recv(1), b"")
    trust = ("--cacert", self._path("authority.pem"))
    self.assertEqual(self._curl(server, *trust), 0)
    self.assertNotIn("Traceback", server.log)

  def test_silent_connections_of_grpc_are_closed(self):
    authority = grpc.ssl_channel_credentials(self._read("authority.pem"))
    for tls, credentials in ((True, authority), (False, None)):
      server = self._start("--max_connections=2", tls=tls)
      with contextlib.ExitStack() as stack:
        silent = [
          stack.enter_context(
            socket.create_connection(("127.0.0.1", server.port), _TIMEOUT)
          )
          for _ in range(2)
        ]
        if not tls:
          silent[0].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")  # And nothing else.
        for connection in silent:
          while connection.recv(1000):
            pass
        rpc = functools.partial(self._rpc, server, credentials)
        server.wait_until(lambda rpc=rpc: rpc() == grpc.StatusCode.OK)


if __name__ == "__main__":
  absltest.main()
