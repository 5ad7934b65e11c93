"""The gRPC server: its services, limits and credentials."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import grpc
import grpc.aio

from monolith.serving.admission import PREDICT, Admission, Call
from monolith.serving.errors import Code, ServingError
from monolith.serving.predictor import Predictor
from monolith.serving.rpc.health import HealthService
from monolith.serving.rpc.model_service import ModelService
from monolith.serving.rpc.places import Places
from monolith.serving.rpc.prediction_service import PredictionService
from monolith.serving.tls import TlsFiles

_OVERHEAD_BYTES = 64 * 1024  # What a body of the largest size may come with.
_OPTIONS = (
  ("grpc.so_reuseport", 0),  # Two servers of one port are a mistake.
  # Else a connection's windows grow with its speed, and each call whose message nobody
  # reads yet may hold megabytes. Windows of what is read grow all the same.
  ("grpc.http2.bdp_probe", 0),
  ("grpc.http2.max_ping_strikes", 2),
  ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
  ("grpc.server_handshake_timeout_ms", 5_000),  # For TLS, and for the first of HTTP/2.
  # Clients that are gone, and those that are idle, cost no connection for long.
  ("grpc.keepalive_time_ms", 60_000),
  ("grpc.keepalive_timeout_ms", 20_000),
  ("grpc.max_connection_idle_ms", 900_000),
)
_MIN_STREAMS = 100  # Of a connection, as HTTP/2 recommends.
# Of messages of other methods than Predict, which are small.
_SMALL_PLACES = 8
_SMALL_WAITING = 64
_SMALL_SECONDS = 2.0
_DEADLINE_SECONDS = 0.1  # What clients and this machine may see of it at other times.


class RpcServer:
  """Answers gRPC.

  Args:
    predictor: of the requests.
    admission: of the requests.
    address: `host:port` to listen at.
    tls: files of certificates, or None for none.
    grace_seconds: that requests have when the server stops.
    body_seconds: that a message may take to come, and may wait before for its place.

  Raises:
    OSError: the port cannot be had.
  """

  def __init__(
    self,
    predictor: Predictor,
    admission: Admission,
    address: str,
    tls: TlsFiles | None,
    grace_seconds: float,
    body_seconds: float,
  ):
    self._admission = admission
    self._grace = grace_seconds
    self._body_seconds = body_seconds
    limits = admission.limits
    most = limits.max_concurrent_requests
    self._places = Places(
      max(1, limits.max_bytes_in_flight // limits.max_request_bytes), most, body_seconds
    )
    self._small_places = Places(_SMALL_PLACES, _SMALL_WAITING, _SMALL_SECONDS)
    self._server = grpc.aio.server(
      options=[
        *_OPTIONS,
        (
          "grpc.max_receive_message_length",
          limits.max_request_bytes + _OVERHEAD_BYTES,
        ),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # No connection has all requests. Clients wait with what is beyond.
        ("grpc.max_concurrent_streams", max(_MIN_STREAMS, most // 2)),
      ],
    )
    for service in (
      PredictionService(predictor, limits.max_request_bytes),
      ModelService(predictor),
      HealthService(predictor),
    ):
      handlers = {
        # On the wire the same as `unary_unary`, but begins before the message is here.
        name: grpc.stream_unary_rpc_method_handler(self._handler(name, method))
        for name, method in service.methods.items()
      }
      self._server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.name, handlers),)
      )
    try:
      if tls:
        self.port = self._server.add_secure_port(address, tls.grpc_credentials())
      else:
        self.port = self._server.add_insecure_port(address)
    except RuntimeError:
      raise OSError(
        f"--port: cannot listen at {address} for gRPC: {_why_not(address)}"
      ) from None

  async def start(self) -> None:
    await self._server.start()

  async def stop(self) -> None:
    """Takes no more requests, and ends when those it has are answered."""
    await self._server.stop(self._grace)

  def _handler(self, name: str, method):
    async def handle(_, context: grpc.aio.ServicerContext) -> bytes:
      call = self._admission.begin(name, "grpc")
      # When all of the answer is sent, as far as the client's windows go, or nobody
      # waits for it any more.
      context.add_done_callback(lambda _: call.close())
      try:
        return await self._answer(context, name, method, call)
      except ServingError as error:
        code, message = error.code, error.message
      # Not where the error is at hand: what `abort` raises is kept in a cycle until
      # Python looks for garbage, and with the error the request's tensors would be.
      with contextlib.suppress(grpc.aio.InternalError):  # Whoever asked may be gone.
        await context.abort(code, message)

    return handle

  async def _answer(
    self, context: grpc.aio.ServicerContext, name: str, method, call: Call
  ) -> bytes:
    with call.answering():
      if _is_late(context, 0):
        raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
      try:
        await call.wait_while_held(context.time_remaining())
        body = await self._receive(context, name)
        call.grow(len(body))
        answer = await method(body, call)
      except asyncio.CancelledError:
        # By gRPC, which does so too at the deadline.
        call.is_late = _is_late(context, _DEADLINE_SECONDS)
        raise
      call.answer(len(answer))
      return answer

  async def _receive(self, context: grpc.aio.ServicerContext, name: str) -> bytes:
    """The message of a request."""
    places, seconds = self._small_places, _SMALL_SECONDS
    if name == PREDICT:
      places, seconds = self._places, self._body_seconds
    async with places.one(context.peer()):
      try:
        async with asyncio.timeout(seconds):
          body = await context.read()
      except TimeoutError:
        raise ServingError(
          Code.DEADLINE_EXCEEDED, f"no message within {seconds} s"
        ) from None
    if body is grpc.aio.EOF:
      raise ServingError(Code.INTERNAL, "the request has no message")
    return body


def _why_not(address: str) -> str:
  """What keeps gRPC from listening at an address; it only logs that."""
  host, _, port = address.rpartition(":")
  try:
    for family, _, _, _, each in socket.getaddrinfo(
      host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
      socket.create_server(each, family=family).close()
  except OSError as error:
    return error.strerror
  return "gRPC's line before this one has the reason"


def _is_late(context: grpc.aio.ServicerContext, seconds: float) -> bool:
  """Whether there are no more than so many seconds until the deadline."""
  remaining = context.time_remaining()
  return remaining is not None and remaining <= seconds
