"""TensorFlow Serving's `PredictionService` over gRPC: Predict and GetModelMetadata."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from google.protobuf import message
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2

from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.predictor import PREDICT, Prediction, Predictor, Target
from monolith.serving.rpc import tensors
from monolith.serving.servable.signature import Signature

_SIGNATURE_DEF = "signature_def"


class PredictionService:
  """The methods, of serialized messages."""

  name = "tensorflow.serving.PredictionService"

  def __init__(self, predictor: Predictor):
    self._predictor = predictor
    self.methods = {
      PREDICT: self._predict,
      "GetModelMetadata": self._get_model_metadata,
    }

  async def _predict(self, body: bytes, call) -> bytes:
    predictor = self._predictor
    request = await predictor.decode(len(body), parse, predict_pb2.PredictRequest, body)
    target = target_of(request)
    call.model = target.model
    prediction = await predictor.predict(
      target,
      request.model_spec.signature_name,
      len(body),
      functools.partial(_feeds, request, predictor.limits.max_request_bytes),
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


def parse(kind: type, body: bytes):
  """Parses a message.

  Raises:
    ServingError: with the code that gRPC has for it.
  """
  try:
    return kind.FromString(body)
  except message.DecodeError:
    raise ServingError(
      Code.INTERNAL, f"the request is no {kind.DESCRIPTOR.full_name}"
    ) from None


def target_of(request) -> Target:
  """Whom the `model_spec` of a request names.

  Raises:
    ServingError: nobody.
  """
  if not request.HasField("model_spec"):
    raise invalid_argument("Missing ModelSpec")
  spec = request.model_spec
  if not spec.name:
    raise invalid_argument("ModelSpec has no name specified.")
  kind = spec.WhichOneof("version_choice")
  return Target(
    spec.name,
    spec.version.value if kind == "version" else None,
    spec.version_label if kind == "version_label" else None,
  )


def _feeds(
  request: predict_pb2.PredictRequest, max_bytes: int, signature: Signature
) -> Mapping[str, np.ndarray]:
  signature.check_names(set(request.inputs))
  signature.check_outputs(request.output_filter)
  return {
    name: tensors.decode(name, request.inputs[name], spec, max_bytes)
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
