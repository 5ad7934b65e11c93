"""What tests of the server as a process have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import grpc
import numpy as np
from absl.testing import absltest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import export_sleeper
from monolith.serving.testing.server_process import ServerProcess

TIMEOUT = 60.0  # Seconds that nothing takes, but where something is wrong.


class ServerTestCase(absltest.TestCase):
  """Starts servers of the model `two_heads`, whatever that is, and asks them.

  Attributes:
    constants: of modules that have other values in the servers it starts, by their full
      names.
  """

  constants: Mapping[str, float] = {}

  def start(self, base_path: str, *flags: str) -> ServerProcess:
    """A server, until the test is over; it may not be ready yet."""
    return self.enter_context(
      ServerProcess(
        os.path.join(self.create_tempdir().full_path, "server.log"),
        "--model_name=two_heads",
        f"--model_base_path={base_path}",
        *flags,
        constants=self.constants,
      )
    )

  def start_sleeper(self, *flags: str) -> ServerProcess:
    """A server that is ready, of a model that takes as long as it is asked to."""
    base_path = self.create_tempdir().full_path
    export_sleeper(base_path)
    return self.start(base_path, *flags).wait_until_ready()

  def connect(
    self, server: ServerProcess, *options: tuple[str, int | str]
  ) -> grpc.Channel:
    """A connection of its own, until the test is over."""
    options += (
      ("grpc.use_local_subchannel_pool", 1),
      ("grpc.max_receive_message_length", -1),
    )
    return self.enter_context(grpc.insecure_channel(server.address, options))

  def sleep(
    self, channel: grpc.Channel, seconds: float, timeout: float = TIMEOUT
  ) -> grpc.StatusCode:
    """The code of the answer of a model that takes so many seconds."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    try:
      stub.Predict(predict_request(seconds=np.array([seconds])), timeout)
      return grpc.StatusCode.OK
    except grpc.RpcError as error:
      return error.code()

  def eventually(self, wanted: object, function: Callable[[], object]) -> None:
    """Waits until a function returns what is wanted."""
    deadline = time.monotonic() + TIMEOUT
    while (got := function()) != wanted:
      self.assertLess(time.monotonic(), deadline, f"{got} and not {wanted}")
      time.sleep(0.05)

  def has_metric(self, server: ServerProcess, text: str) -> bool:
    """Whether a line of the metrics, without what all begin with, is there."""
    return f"monolith_serving_{text}\n" in curl(f"{server.url}/metrics")[1]
