"""New versions under load: no request fails, each answer is one version's, and what
old versions held is freed."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import threading
import time
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from absl.testing import absltest
from tensorflow_serving.apis import prediction_service_pb2_grpc

from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import (
  ITEMS,
  USERS,
  ExportedModel,
  ManyUsers,
  bytes_of_tables,
)
from monolith.serving.testing.server_process import ServerProcess

_TIMEOUT = 60.0
_SWITCHES = 10
_SWITCHES_BEFORE_MEASURING = 2
_SWITCHES_MEASURED = 4


class VersionSwitchTest(absltest.TestCase):
  def _start(self, model: ExportedModel) -> ServerProcess:
    return self.enter_context(
      ServerProcess(
        os.path.join(self.create_tempdir().full_path, "server.log"),
        "--model_name=two_heads",
        f"--model_base_path={model.base_path}",
        "--enable_batching",
        "--file_system_poll_wait_seconds=0.1",
      )
    ).wait_until_ready()

  def test_switches_under_load(self):
    model = ExportedModel(self.create_tempdir().full_path)
    version = model.train_and_export()
    expected = {version: model.predict()["score"]}
    answers: list[tuple[int, np.ndarray]] = []
    done = threading.Event()
    server = self._start(model)

    def ask_grpc():
      with grpc.insecure_channel(server.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_request(user=USERS, item=ITEMS)
        while not done.is_set():
          response = stub.Predict(request, _TIMEOUT)
          score = tf.make_ndarray(response.outputs["score"])
          answers.append((response.model_spec.version.value, score))

    def ask_http():
      url = f"{server.url}/v1/models/two_heads:predict"
      inputs = {"user": USERS.tolist(), "item": ITEMS.tolist()}
      body = json.dumps({"inputs": inputs}).encode()
      while not done.is_set():
        with urllib.request.urlopen(url, body, _TIMEOUT) as response:
          score = json.load(response)["outputs"]["score"]
        answers.append((0, np.array(score, np.float32)))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      clients = [pool.submit(ask) for ask in (ask_grpc, ask_grpc, ask_http, ask_http)]
      try:
        for _ in range(_SWITCHES):
          version = model.train_and_export()
          expected[version] = model.predict()["score"]
          self._wait_for(server, version)
          self._wait_until_answered(version, answers)
      finally:
        done.set()
      for client in clients:
        client.result()  # Raises what it has met.

    self.assertCountEqual({v for v, _ in answers if v}, expected)
    # To the last bits, which depend on what else was in a batch.
    tolerance = {"rtol": 1e-5, "atol": 1e-7}
    for version, score in answers:
      if version:
        np.testing.assert_allclose(score, expected[version], **tolerance)
      else:
        close = [np.allclose(score, e, **tolerance) for e in expected.values()]
        self.assertEqual(sum(close), 1)  # Which shows that versions differ by more.

  def test_the_memory_of_old_versions_is_given_back(self):
    model = ExportedModel(self.create_tempdir().full_path, ManyUsers)
    first = model.train_and_export()
    path = os.path.join(model.base_path, str(first))
    size = bytes_of_tables(path)
    self.assertGreater(size, 16_000_000)
    server = self._start(model)
    resident = []
    for switch in range(1, 1 + _SWITCHES_BEFORE_MEASURING + _SWITCHES_MEASURED):
      aside = os.path.join(model.base_path, ".tmp")
      shutil.copytree(path, aside)
      os.rename(aside, os.path.join(model.base_path, str(first + switch)))
      self._wait_for(server, first + switch)
      resident.append(server.resident_bytes())
    growth = resident[-1] - resident[_SWITCHES_BEFORE_MEASURING - 1]
    self.assertLess(growth, size)  # Not even one is left.

  def _wait_until_answered(
    self, version: int, answers: list[tuple[int, np.ndarray]]
  ) -> None:
    """Waits until one of the answers is a version's."""
    deadline = time.monotonic() + _TIMEOUT
    while all(answered != version for answered, _ in answers):
      self.assertLess(time.monotonic(), deadline, f"{version} does not answer")
      time.sleep(0.01)

  def _wait_for(self, server: ServerProcess, version: int) -> None:
    """Waits until a version alone answers."""
    deadline = time.monotonic() + _TIMEOUT
    states: dict[str, str] = {}
    while states.get(str(version)) != "AVAILABLE" or "UNLOADING" in states.values():
      self.assertLess(time.monotonic(), deadline, f"{version}: {states}\n{server.log}")
      time.sleep(0.05)
      _, body = curl(f"{server.url}/v1/models/two_heads")
      found = json.loads(body)["model_version_status"]
      states = {status["version"]: status["state"] for status in found}
    self.assertEqual(list(states.values()).count("AVAILABLE"), 1)


if __name__ == "__main__":
  absltest.main()
