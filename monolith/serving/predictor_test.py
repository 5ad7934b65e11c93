"""Where predictions are written."""

import asyncio
import threading

import numpy as np
from absl.testing import absltest

from monolith.serving.batching.batcher import Batcher
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.predictor import Prediction, Predictor
from monolith.serving.servable.signature import Signature
from monolith.serving.versions.manager import ModelManager


class PredictorTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    manager = ModelManager([], lambda *_: None)
    self.predictor = Predictor(manager, Batcher(BatchingOptions()))

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
