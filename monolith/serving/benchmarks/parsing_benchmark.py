"""How long requests are parsed, while which nothing else in Python runs.

  bazel run //monolith/serving/benchmarks:parsing_benchmark

Medians of the CPU time of one call, as large requests differ from each other.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import app, flags
from tensorflow_serving.apis import predict_pb2

from monolith.serving.rest.json_request import JsonRequest

_REPETITIONS = flags.DEFINE_integer("repetitions", 7, "Calls of each.", 1)
_MEBIBYTES = flags.DEFINE_multi_integer("mebibytes", [1, 4, 16], "Of a request.")


def _bodies(size: int) -> dict[str, bytes]:
  """Of about so many bytes, by what is in them."""
  row = b'{"mov":[271828182845],"uid":[314159265358]},'
  return {
    "rows of two ids": b'{"instances":[' + (row * (size // len(row)))[:-1] + b"]}",
    "empty lists": b'{"inputs":[' + (b"[]," * (size // 3))[:-1] + b"]}",
  }


def _messages(size: int) -> dict[str, bytes]:
  messages = {}
  for field, value in (
    ("tensor_content", tf.make_tensor_proto(np.zeros(size // 8, np.int64))),
    ("int64_val", tf.make_tensor_proto(1, tf.int64)),
    ("string_val", tf.make_tensor_proto(b"")),
  ):
    if field != "tensor_content":
      values = getattr(value, field)
      values.extend(list(values) * (size // (1 if field == "int64_val" else 2)))
    request = predict_pb2.PredictRequest()
    request.inputs["x"].CopyFrom(value)
    messages[field] = request.SerializeToString()
  return messages


def _median(function: Callable[[bytes], object], argument: bytes) -> float:
  seconds = []
  for _ in range(_REPETITIONS.value):
    begin = time.thread_time()
    function(argument)
    seconds.append(time.thread_time() - begin)
  return statistics.median(seconds)


def main(_) -> None:
  gc.collect()
  gc.freeze()
  gc.set_threshold(10_000, 10, 10)  # As in the server.
  for mebibytes in _MEBIBYTES.value:
    size = mebibytes * 2**20
    for kind, parse, requests in (
      ("HTTP", JsonRequest.parse, _bodies(size)),
      ("gRPC", predict_pb2.PredictRequest.FromString, _messages(size)),
    ):
      for content, request in requests.items():
        print(
          f"{kind} {mebibytes:3} MiB of {content + ':':17}"
          f"{_median(parse, request) * 1e3:8.1f} ms",
          flush=True,
        )


if __name__ == "__main__":
  app.run(main)
