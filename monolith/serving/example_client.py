"""Asks a model server, with nothing but the package `tensorflow-serving-api`.

bazel run //monolith/serving:example_client -- --model=ranking mov=1,2,3 uid=4,5,6
"""

import sys

import grpc
import tensorflow as tf
from absl import app, flags
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

_SERVER = flags.DEFINE_string("server", "127.0.0.1:8500", "Where it listens for gRPC.")
_MODEL = flags.DEFINE_string("model", "default", "Name of the model.")
_TIMEOUT_SECONDS = 10.0


def main(arguments: list[str]) -> None:
  request = predict_pb2.PredictRequest()
  request.model_spec.name = _MODEL.value
  for argument in arguments[1:]:
    name, _, ids = argument.partition("=")
    try:
      column = [[int(id_)] for id_ in ids.split(",")]
      request.inputs[name].CopyFrom(tf.make_tensor_proto(column, tf.int64))
    except (ValueError, OverflowError):
      sys.exit(f"example_client: got {argument}, wanted such as mov=1,2,3")

  with grpc.insecure_channel(_SERVER.value) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    try:
      response = stub.Predict(request, timeout=_TIMEOUT_SECONDS)
    except grpc.RpcError as error:
      sys.exit(f"example_client: {error.code().name}: {error.details()}")

  print(f"version {response.model_spec.version.value} of {response.model_spec.name}")
  for name, tensor in sorted(response.outputs.items()):
    print(f"{name}: {', '.join(map(str, tf.make_ndarray(tensor).ravel()))}")


if __name__ == "__main__":
  app.run(main)
