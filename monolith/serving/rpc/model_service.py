"""TensorFlow Serving's `ModelService` over gRPC: GetModelStatus."""

from tensorflow_serving.apis import get_model_status_pb2

from monolith.serving.predictor import Predictor
from monolith.serving.rpc.messages import parse, target_of
from monolith.serving.versions import status


class ModelService:
  """The methods, of serialized messages."""

  name = "tensorflow.serving.ModelService"

  def __init__(self, predictor: Predictor):
    self._predictor = predictor
    self.methods = {"GetModelStatus": self._get_model_status}

  async def _get_model_status(self, body: bytes, call) -> bytes:
    target = target_of(parse(get_model_status_pb2.GetModelStatusRequest, body))
    call.model = target.model
    model = self._predictor.manager.model(target.model)
    return status.of(model, target.version, target.label).SerializeToString()
