"""The gRPC server: its services, limits and credentials."""

from __future__ import annotations

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from monolith.serving.errors import Code, ServingError
from monolith.serving.predictor import Predictor
from monolith.serving.rpc.model_service import ModelService
from monolith.serving.rpc.prediction_service import PredictionService, parse
from monolith.serving.tls import TlsFiles

_OVERHEAD_BYTES = 64 * 1024  # What a body of the largest size may come with.
_OPTIONS = (
  ("grpc.so_reuseport", 0),  # Two servers of one port are a mistake.
  ("grpc.http2.max_ping_strikes", 2),
  ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


class _Health:
  """What Kubernetes's gRPC probes ask."""

  name = "grpc.health.v1.Health"

  def __init__(self, predictor: Predictor):
    self._predictor = predictor
    self.methods = {"Check": self._check}

  async def _check(self, body: bytes, call) -> bytes:
    del call
    request = parse(health_pb2.HealthCheckRequest, body)
    if request.service:
      model = self._predictor.manager.model(request.service)
      ready = model.latest is not None
    else:
      ready = self._predictor.manager.is_ready
    kind = health_pb2.HealthCheckResponse
    return kind(status=kind.SERVING if ready else kind.NOT_SERVING).SerializeToString()


class RpcServer:
  """Answers gRPC.

  Args:
    predictor: of the requests.
    address: `host:port` to listen at.
    tls: files of certificates, or None for none.
    grace_seconds: that requests have when the server stops.

  Raises:
    OSError: the port cannot be had.
  """

  def __init__(
    self,
    predictor: Predictor,
    address: str,
    tls: TlsFiles | None,
    grace_seconds: float,
  ):
    self._predictor = predictor
    self._grace = grace_seconds
    limits = predictor.limits
    max_bytes = limits.max_request_bytes + _OVERHEAD_BYTES
    self._server = grpc.aio.server(
      options=[
        *_OPTIONS,
        ("grpc.max_receive_message_length", max_bytes),
        ("grpc.max_send_message_length", -1),
        # A connection cannot hold more than all may together.
        ("grpc.max_concurrent_streams", limits.max_concurrent_requests),
      ],
      # Against floods: what is above the limit but below this gets a polite answer.
      maximum_concurrent_rpcs=2 * limits.max_concurrent_requests,
    )
    for service in (
      PredictionService(predictor),
      ModelService(predictor),
      _Health(predictor),
    ):
      handlers = {
        name: grpc.unary_unary_rpc_method_handler(self._handler(name, method))
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
    except RuntimeError as error:
      raise OSError(f"cannot listen at {address} for gRPC: {error}") from None

  async def start(self) -> None:
    await self._server.start()

  async def stop(self) -> None:
    """Takes no more requests, and ends when those it has are answered."""
    await self._server.stop(self._grace)

  def _handler(self, name: str, method):
    async def handle(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
      try:
        with self._predictor.call(name, "grpc") as call:
          remaining = context.time_remaining()
          if remaining is not None and remaining <= 0:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
          # What is still under way at its deadline, gRPC cancels.
          return await method(body, call)
      except ServingError as error:
        await context.abort(error.code, error.message)

    return handle
