"""Models do not wait for each other's threads."""

from __future__ import annotations

import asyncio

from absl.testing import absltest

from monolith.serving.batching.batcher_test_case import (
  SIGNATURE,
  BatcherTestCase,
  Doubler,
  x_of,
)


class SlowModelTest(BatcherTestCase):
  def _test_a_slow_model_holds_up_no_other(self, **options):
    others = [Doubler(name) for name in ("n", "o")]

    async def scenario(batcher):
      self.servable.gate.clear()
      slow = [self.submit_wide(batcher, 1) for _ in range(4)]
      await self.until_waiting(batcher, 2)
      for other in (*others, others[0]):
        await batcher.run(other, SIGNATURE, x_of(1))
      self.assertEqual(batcher.waiting, 2)  # The slow one has no more threads.
      self.assertFalse(any(task.done() for task in slow))
      self.servable.gate.set()
      await asyncio.gather(*slow)

    options |= {"num_models": 3, "num_batch_threads": 2}
    self.run_scenario(scenario, **options)
    self.assertEqual([other.batches for other in others], [[1, 1], [1]])
    self.assertEqual([other.users for other in (self.servable, *others)], [0, 0, 0])

  def test_a_slow_model_holds_up_no_other(self):
    self._test_a_slow_model_holds_up_no_other(max_batch_size=1)

  def test_without_batching_a_slow_model_holds_up_no_other(self):
    self._test_a_slow_model_holds_up_no_other(enabled=False)

  def test_a_model_begins_one_batch_beyond_the_threads(self):
    other = Doubler("n")

    async def scenario(batcher):
      try:
        self.servable.gate.clear()
        other.gate.clear()
        tasks = [self.submit(batcher, 1)]
        await self.until_waiting(batcher, 0)
        tasks += [
          asyncio.ensure_future(batcher.run(other, SIGNATURE, x_of(1)))
          for _ in range(3)
        ]
        await self.until_waiting(batcher, 2)
        self.servable.gate.set()
        await tasks[0]
        await self.until_waiting(batcher, 2)  # The only thread is still the other's.
        other.gate.set()
        await asyncio.gather(*tasks)
      finally:
        other.gate.set()  # What runs is waited for.

    self.run_scenario(scenario, num_models=2, enabled=False)


if __name__ == "__main__":
  absltest.main()
