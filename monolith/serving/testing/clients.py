"""What clients of the server send, in its tests."""

import subprocess

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

_TIMEOUT_SECONDS = 60.0


def curl(url: str, *arguments: str) -> tuple[int, str]:
  """The status and body that curl gets."""
  result = subprocess.run(
    ["curl", "--silent", "--write-out", "\n%{http_code}", *arguments, url],
    capture_output=True,
    text=True,
    check=True,
    timeout=_TIMEOUT_SECONDS,
  )
  body, _, status = result.stdout.rpartition("\n")
  return int(status), body


def predict_request(**inputs: np.ndarray) -> predict_pb2.PredictRequest:
  """A request to the model `two_heads`."""
  request = predict_pb2.PredictRequest()
  request.model_spec.name = "two_heads"
  for name, value in inputs.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
  return request
