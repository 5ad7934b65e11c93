"""How fast the model server is, beside `session.run` in one process.

  bazel run //monolith/serving/benchmarks:serving_benchmark -- --repetitions=5

In every round the bare session runs first, then the server is loaded over gRPC and
HTTP, at each number of connections; ratios are those of the same round.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import tempfile
import threading
import urllib.request

import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from tensorflow_serving.apis import predict_pb2

from monolith.serving.benchmarks import load, ranking_export
from monolith.serving.benchmarks.bare_session import BareSession
from monolith.serving.testing.server_process import ServerProcess

_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Examples of a request.", 1)
_CONNECTIONS = flags.DEFINE_multi_integer("connections", [1, 8, 64], "To load over.")
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Rounds.", 1)
_SECONDS = flags.DEFINE_integer("seconds", 4, "Of every measurement.", 1)
_SWITCHES = flags.DEFINE_integer("switches", 10, "New versions under load.", 0)
_SERVER_FLAGS = flags.DEFINE_multi_string(
  "server_flag", ["--enable_batching"], "Further flags of the server."
)


def _bodies(batch: dict[str, np.ndarray]) -> dict[str, bytes]:
  """The same request for both protocols."""
  request = predict_pb2.PredictRequest()
  request.model_spec.name = "ranking"
  for name, value in batch.items():
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
  rows = [
    dict(zip(batch, row, strict=True))
    for row in zip(*(value.tolist() for value in batch.values()), strict=True)
  ]
  return {
    "grpc": request.SerializeToString(),
    "rest": json.dumps({"instances": rows}).encode(),
  }


def _loaded(
  server: ServerProcess, protocol: str, body: bytes, connections: int
) -> load.Load:
  if protocol != "grpc":
    url = f"{server.url}/v1/models/ranking:predict"
    return load.run(url, body, connections, _SECONDS.value)
  url = f"http://{server.address}{load.PREDICT_PATH}"
  before = _failures(server)
  result = load.run(url, body, connections, _SECONDS.value, is_grpc=True)
  # Those of the warm-up too: rather too many.
  return result.without_refused(_failures(server) - before, _SECONDS.value)


def _failures(server: ServerProcess) -> int:
  """Requests that the server has not answered with OK; those that h2load gives up at
  its end are not among them."""
  with urllib.request.urlopen(f"{server.url}/metrics") as response:
    text = response.read().decode()
  counts = re.findall(r'requests_total\{code="(\w+)",method="Predict".*\} (\S+)', text)
  return int(sum(float(n) for code, n in counts if code not in ("OK", "CANCELLED")))


def _median(values: list[float]) -> str:
  return f"{statistics.median(values):,.2f} ({min(values):,.2f}-{max(values):,.2f})"


def _measure_speed(server: ServerProcess, bare: BareSession) -> None:
  size = _BATCH_SIZE.value
  batch = ranking_export.batch(size)
  bodies = _bodies(batch)
  results: dict[tuple[str, int], list[tuple[load.Load, float]]] = {}
  bare_speeds = []
  for _ in range(_REPETITIONS.value):
    bare_speeds.append(bare.runs_per_second(batch, _SECONDS.value))
    for protocol, body in bodies.items():
      for connections in _CONNECTIONS.value:
        result = _loaded(server, protocol, body, connections)
        ratio = result.per_second / bare_speeds[-1]
        results.setdefault((protocol, connections), []).append((result, ratio))
  print(f"batch {size}; medians of {_REPETITIONS.value} rounds (and ranges)")
  print(f"session.run: {_median([s * size for s in bare_speeds])} examples/s")
  for (protocol, connections), rounds in results.items():
    loads = [result for result, _ in rounds]
    print(
      f"{protocol} {connections:3} connections: "
      f"{_median([r.per_second for r in loads])} requests/s, "
      f"p50 {_median([r.p50 for r in loads])} ms, "
      f"p99 {_median([r.p99 for r in loads])} ms, "
      f"examples/s by session.run's {_median([ratio for _, ratio in rounds])}, "
      f"failed {sum(r.failed for r in loads)}",
      flush=True,
    )


def _measure_switches(server: ServerProcess, base_path: str, version: int) -> None:
  """Loads the server while copies of the export appear as new versions."""
  body = _bodies(ranking_export.batch(_BATCH_SIZE.value))["grpc"]
  loads: list[load.Load] = []
  done = threading.Event()

  def ask() -> None:
    while not done.is_set():
      loads.append(_loaded(server, "grpc", body, 8))

  client = threading.Thread(target=ask)
  client.start()
  before = server.resident_bytes()
  try:
    for new in range(version + 1, version + 1 + _SWITCHES.value):
      temporary = os.path.join(base_path, ".tmp")
      shutil.copytree(ranking_export.version_folder(base_path, version), temporary)
      os.rename(temporary, ranking_export.version_folder(base_path, new))
      line = f"version {new} of ranking is loaded"
      server.wait_until(lambda line=line: line in server.log)
      done.wait(1.0)
  finally:
    done.set()
    client.join()
  print(
    f"{_SWITCHES.value} new versions, gRPC, 8 connections: "
    f"p50 {_median([r.p50 for r in loads])} ms, p99 {_median([r.p99 for r in loads])} "
    f"ms, failed {sum(r.failed for r in loads)}, memory "
    f"{(server.resident_bytes() - before) / 2**20:+.0f} MiB"
  )


def main(arguments: list[str]) -> None:
  del arguments
  logging.set_verbosity(logging.ERROR)
  tf.get_logger().setLevel("ERROR")
  with tempfile.TemporaryDirectory(prefix="monolith-serving-") as folder:
    path = ranking_export.export(folder)
    base_path, version = os.path.split(path)
    with ServerProcess(
      os.path.join(folder, "server.log"),
      "--model_name=ranking",
      f"--model_base_path={base_path}",
      *_SERVER_FLAGS.value,
    ) as server:
      server.wait_until_ready()
      _measure_speed(server, BareSession(path))
      if _SWITCHES.value:
        _measure_switches(server, base_path, int(version))
      print(f"requests that the server has refused: {_failures(server)}")


if __name__ == "__main__":
  app.run(main)
