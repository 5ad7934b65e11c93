"""What tests of the batcher have in common."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.serving.batching.batcher import Batcher
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import invalid_argument
from monolith.serving.servable.signature import Signature, TensorSpec

_SPEC = TensorSpec("x:0", tf.int64, (None, None))
SIGNATURE = Signature("s", {"x": _SPEC}, {"y": _SPEC}, is_batch=True)
UNBATCHED = Signature("u", {"x": _SPEC}, {"y": _SPEC}, is_batch=False)


class Doubler:
  """A servable that doubles, refuses negative numbers, has memory for `max_examples`,
  and runs while `gate` is open."""

  def __init__(self, name: str = "m"):
    self.name = name
    self.users = 0
    self.batches: list[int] = []
    self.max_examples = 1_000_000
    self.gate = threading.Event()
    self.gate.set()

  def retain(self):
    self.users += 1

  def release(self):
    self.users -= 1

  def by_example(self, signature):
    return signature.is_batch

  def run(self, signature, feeds):
    del signature
    self.gate.wait()
    x = feeds["x"]
    self.batches.append(len(x))
    if len(x) > self.max_examples:
      raise MemoryError(f"{len(x)} examples")
    if (x < 0).any():
      raise invalid_argument(f"negative: {x.min()}")
    return {"y": x * 2}


def x_of(*values: int) -> dict[str, np.ndarray]:
  return {"x": np.array(values, np.int64)[:, None]}


class BatcherTestCase(absltest.TestCase):
  """Runs scenarios with a batcher, and `servable`, the model that `submit` asks."""

  def setUp(self):
    super().setUp()
    self.servable = Doubler()

  def run_scenario(self, scenario, num_models=1, **options):
    """Runs a coroutine function, which is given a batcher."""

    async def run():
      options.setdefault("enabled", True)
      options.setdefault("num_batch_threads", 1)
      batcher = Batcher(BatchingOptions(**options), num_models)
      try:
        return await asyncio.wait_for(scenario(batcher), 30)
      finally:
        self.servable.gate.set()
        await batcher.close()

    return asyncio.run(run())

  def submit(self, batcher, *values, signature=SIGNATURE) -> asyncio.Task:
    return asyncio.ensure_future(batcher.run(self.servable, signature, x_of(*values)))

  def submit_wide(self, batcher, size: int) -> asyncio.Task:
    """Goes into another queue than `submit`'s."""
    wide = {"x": np.ones((size, 3), np.int64)}
    return asyncio.ensure_future(batcher.run(self.servable, SIGNATURE, wide))

  async def until_waiting(self, batcher: Batcher, examples: int) -> None:
    await asyncio.sleep(0.02)  # Until what was submitted has arrived.
    while batcher.waiting != examples:
      await asyncio.sleep(0.01)
