"""`grpc.health.v1.Health`, which Kubernetes's gRPC probes ask: Check."""

from grpc_health.v1 import health_pb2

from monolith.serving.predictor import Predictor
from monolith.serving.rpc.messages import parse


class HealthService:
  """The method, of serialized messages. A service is a model; "" means all of them."""

  name = "grpc.health.v1.Health"

  def __init__(self, predictor: Predictor):
    self._predictor = predictor
    self.methods = {"Check": self._check}

  async def _check(self, body: bytes, call) -> bytes:
    del call
    request = parse(health_pb2.HealthCheckRequest, body)
    ready = self._predictor.manager.is_ready(request.service)
    kind = health_pb2.HealthCheckResponse
    return kind(status=kind.SERVING if ready else kind.NOT_SERVING).SerializeToString()
