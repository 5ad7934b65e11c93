"""TensorFlow Serving's `PredictionService` over gRPC: Predict and GetModelMetadata."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from monolith.serving.admission import PREDICT
from monolith.serving.errors import invalid_argument
from monolith.serving.predictor import Prediction, Predictor
from monolith.serving.rpc import tensors
from monolith.serving.rpc.messages import parse, target_of
from monolith.serving.servable.signature import Signature

_SIGNATURE_DEF = "signature_def"


class PredictionService:
  """The methods, of serialized messages.

  Args:
    predictor: of the requests.
    max_bytes: of a tensor in a request.
  """

  name = "tensorflow.serving.PredictionService"

  def __init__(self, predictor: Predictor, max_bytes: int):
    self._predictor = predictor
    self._max_bytes = max_bytes
    self.methods = {
      PREDICT: self._predict,
      "GetModelMetadata": self._get_model_metadata,
    }

  async def _predict(self, body: bytes, call) -> bytes:
    predictor = self._predictor
    request = await predictor.decode(len(body), parse, predict_pb2.PredictRequest, body)
    target = target_of(request)
    call.model = target.model

    async def feeds_of(signature: Signature) -> Mapping[str, np.ndarray]:
      size = await predictor.decode(
        len(body), _decoded_bytes, request, self._max_bytes, signature
      )
      call.expand(size)
      return await predictor.decode(max(size, len(body)), _feeds, request, signature)

    prediction = await predictor.predict(
      target, request.model_spec.signature_name, feeds_of
    )
    return await predictor.encode(
      prediction, _response, target.model, prediction, list(request.output_filter)
    )

  async def _get_model_metadata(self, body: bytes, call) -> bytes:
    request = parse(get_model_metadata_pb2.GetModelMetadataRequest, body)
    target = target_of(request)
    call.model = target.model
    if not request.metadata_field:
      raise invalid_argument(
        "GetModelMetadataRequest must specify at least one metadata_field"
      )
    for field in request.metadata_field:
      if field != _SIGNATURE_DEF:
        raise invalid_argument(f"Metadata field {field} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with self._predictor.servable(target) as servable:
      response.model_spec.name = target.model
      response.model_spec.version.value = servable.version
      signatures = get_model_metadata_pb2.SignatureDefMap()
      for name, definition in servable.definitions.items():
        signatures.signature_def[name].CopyFrom(definition)
      response.metadata[_SIGNATURE_DEF].Pack(signatures)
    return response.SerializeToString()


def _decoded_bytes(
  request: predict_pb2.PredictRequest, max_bytes: int, signature: Signature
) -> int:
  signature.check_names(set(request.inputs))
  signature.check_outputs(request.output_filter)
  return sum(
    tensors.decoded_bytes(name, request.inputs[name], spec, max_bytes)
    for name, spec in signature.inputs.items()
  )


def _feeds(
  request: predict_pb2.PredictRequest, signature: Signature
) -> Mapping[str, np.ndarray]:
  return {
    name: tensors.decode(name, request.inputs[name], spec)
    for name, spec in signature.inputs.items()
  }


def _response(model: str, prediction: Prediction, wanted: list[str]) -> bytes:
  response = predict_pb2.PredictResponse()
  response.model_spec.name = model
  response.model_spec.version.value = prediction.version
  response.model_spec.signature_name = prediction.signature.name
  for name in wanted or prediction.outputs:
    dtype = prediction.signature.outputs[name].dtype
    tensors.encode(prediction.outputs[name], dtype, response.outputs[name])
  return response.SerializeToString()
