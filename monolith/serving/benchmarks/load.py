"""Load from h2load, which sends one request over and over."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np

PREDICT_PATH = "/tensorflow.serving.PredictionService/Predict"
_GRPC_FLAGS = ("-m", "1", "-H", "content-type: application/grpc", "-H", "te: trailers")
_HTTP_FLAGS = ("--h1", "-H", "content-type: application/json")


@dataclasses.dataclass(frozen=True)
class Load:
  """What was measured: requests that were answered, a second, and milliseconds."""

  per_second: float
  p50: float
  p99: float
  failed: int

  def without_refused(self, refused: int, seconds: float) -> Load:
    """With what the server says it has refused as failed.

    Args:
      refused: answers with another `grpc-status` than 0.
      seconds: that were measured.
    """
    return dataclasses.replace(
      self, per_second=self.per_second - refused / seconds, failed=self.failed + refused
    )


def grpc_frame(message: bytes) -> bytes:
  """A message as gRPC sends it."""
  return struct.pack(">BI", 0, len(message)) + message


def run(
  url: str,
  body: bytes,
  connections: int,
  seconds: int,
  warm_up_seconds: int = 1,
  is_grpc: bool = False,
) -> Load:
  """Sends the body over connections, on each the next when the last is answered.

  An answer counts as failed by its HTTP status, which is all that h2load writes down.
  That of gRPC's errors is 200: `without_refused` takes them away.

  Raises:
    RuntimeError: h2load is missing, or fails.
  """
  if shutil.which("h2load") is None:
    raise RuntimeError("h2load is missing; install the system package nghttp2-client")
  with tempfile.TemporaryDirectory() as folder:
    log, data = os.path.join(folder, "log"), os.path.join(folder, "data")
    with open(data, "wb") as file:
      file.write(grpc_frame(body) if is_grpc else body)
    command = [
      *("h2load", "-D", str(seconds), f"--warm-up-time={warm_up_seconds}"),
      *("-c", str(connections), "-d", data, f"--log-file={log}"),
      *(_GRPC_FLAGS if is_grpc else _HTTP_FLAGS),
      url,
    ]
    result = subprocess.run(
      command, capture_output=True, text=True, timeout=60 + seconds + warm_up_seconds
    )
    if result.returncode != 0:
      raise RuntimeError(f"h2load has failed:\n{result.stdout}\n{result.stderr}")
    with open(log, encoding="utf-8") as file:
      return of_log(file.read().splitlines(), seconds)


def of_log(lines: Sequence[str], seconds: float) -> Load:
  """From h2load's log, whose lines have a time, a status and microseconds."""
  if not lines:
    raise RuntimeError("h2load got no answer")
  fields = np.array([line.split("\t") for line in lines], np.int64)
  answered = fields[:, 1] == 200
  milliseconds = fields[:, 2] / 1e3
  p50, p99 = np.percentile(milliseconds, [50, 99])
  count = int(answered.sum())
  return Load(count / seconds, float(p50), float(p99), len(fields) - count)
