"""What becomes of a request that fails."""

import asyncio
import threading

import numpy as np
from absl.testing import absltest

from monolith.serving.batching.batcher import Batcher
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import Code, ServingError
from monolith.serving.metrics import Metrics
from monolith.serving.predictor import PREDICT, Limits, Prediction, Predictor
from monolith.serving.servable.signature import Signature
from monolith.serving.versions.manager import ModelManager


class PredictorTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    manager = ModelManager([], lambda *_: None)
    batcher = Batcher(BatchingOptions())
    limits = Limits(max_bytes_in_flight=100)
    self.predictor = Predictor(manager, batcher, limits, Metrics(manager.models))

  def _code_after(self, error: Exception) -> Code:
    with self.assertRaises(ServingError) as caught:
      with self.predictor.call(PREDICT, "rest"):
        raise error
    return caught.exception.code

  def test_a_request_without_memory_harms_only_itself(self):
    self.assertEqual(self._code_after(MemoryError("8 GB")), Code.RESOURCE_EXHAUSTED)
    self.assertEqual(self._code_after(KeyError("a mistake")), Code.INTERNAL)
    self.assertEqual(self.predictor.in_flight, 0)

  def test_bodies_of_all_requests_are_bounded(self):
    with self.predictor.call(PREDICT, "rest") as first:
      first.grow(60)
      with self.assertRaisesRegex(ServingError, "more than 100 bytes") as caught:
        with self.predictor.call(PREDICT, "grpc") as second:
          second.grow(30)
          second.grow(30)
      self.assertEqual(caught.exception.code, Code.RESOURCE_EXHAUSTED)
      first.grow(40)
    with self.predictor.call(PREDICT, "grpc") as last:
      last.grow(100)

  def test_only_small_answers_are_written_in_the_thread_of_the_event_loop(self):
    async def thread_of(array: np.ndarray) -> int:
      prediction = Prediction({"x": array}, Signature("s", {}, {}, True), 1)
      return await self.predictor.encode(prediction, threading.get_ident)

    here = threading.get_ident()
    self.assertEqual(asyncio.run(thread_of(np.zeros(1000, np.float32))), here)
    for large in (np.zeros(100_000, np.float32), np.full(10_000, b"a", object)):
      self.assertNotEqual(asyncio.run(thread_of(large)), here)


if __name__ == "__main__":
  absltest.main()
