"""Requests run together come out as if each had run alone."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import threading
import weakref
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.serving.batching.batcher import Batcher
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.servable.signature import Signature, TensorSpec

_SPEC = TensorSpec("x:0", tf.int64, (None, None))
_SIGNATURE = Signature("s", {"x": _SPEC}, {"y": _SPEC}, is_batch=True)
_UNBATCHED = Signature("u", {"x": _SPEC}, {"y": _SPEC}, is_batch=False)


class _Doubler:
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


def _x(*values: int) -> dict[str, np.ndarray]:
  return {"x": np.array(values, np.int64)[:, None]}


class BatcherTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.servable = _Doubler()

  def _run(self, scenario, num_models=1, **options):
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

  def _submit(self, batcher, *values, signature=_SIGNATURE) -> asyncio.Task:
    return asyncio.ensure_future(batcher.run(self.servable, signature, _x(*values)))

  def test_requests_that_come_together_are_one_batch(self):
    async def scenario(batcher):
      return await asyncio.gather(*(self._submit(batcher, i, i + 1) for i in range(10)))

    for i, outputs in enumerate(self._run(scenario)):
      np.testing.assert_array_equal(outputs["y"], [[2 * i], [2 * i + 2]])
    self.assertEqual(self.servable.batches, [20])
    self.assertEqual(self.servable.users, 0)

  def test_batches_keep_to_their_size(self):
    async def scenario(batcher):
      await asyncio.gather(*(self._submit(batcher, 1, 2, 3) for _ in range(5)))

    self._run(scenario, max_batch_size=7)
    self.assertEqual(self.servable.batches, [6, 6, 3])

  def test_without_batching_each_runs_alone(self):
    async def scenario(batcher):
      await asyncio.gather(*(self._submit(batcher, 1) for _ in range(5)))

    self._run(scenario, enabled=False, batch_timeout_micros=60_000_000)
    self.assertEqual(self.servable.batches, [1] * 5)

  def test_without_batching_requests_are_of_any_size(self):
    async def scenario(batcher):
      return await self._submit(batcher, 1, 2, 3, 4, 5)

    outputs = self._run(scenario, enabled=False, max_batch_size=2)
    np.testing.assert_array_equal(outputs["y"][:, 0], [2, 4, 6, 8, 10])

  def test_a_signature_without_batches_runs_alone(self):
    async def scenario(batcher):
      await asyncio.gather(
        *(self._submit(batcher, 1, 2, signature=_UNBATCHED) for _ in range(3))
      )

    self._run(scenario)
    self.assertEqual(self.servable.batches, [2, 2, 2])

  def test_other_inner_shapes_go_apart(self):
    async def scenario(batcher):
      wide = {"x": np.ones((4, 3), np.int64)}
      return await asyncio.gather(
        self._submit(batcher, 1), batcher.run(self.servable, _SIGNATURE, wide)
      )

    narrow, wide = self._run(scenario)
    self.assertEqual(narrow["y"].shape, (1, 1))
    self.assertEqual(wide["y"].shape, (4, 3))

  def _submit_wide(self, batcher, size: int) -> asyncio.Task:
    """Goes into another queue than `_submit`'s."""
    wide = {"x": np.ones((size, 3), np.int64)}
    return asyncio.ensure_future(batcher.run(self.servable, _SIGNATURE, wide))

  def test_a_busy_queue_does_not_starve_another(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self._submit(batcher, 1)]
      await self._until_waiting(batcher, 0)
      for other in (False, False, True, False, False, True, False):
        if other:
          tasks.append(self._submit_wide(batcher, 1))
        else:
          tasks.append(self._submit(batcher, 1, 2, 3, 4))
        await asyncio.sleep(0.01)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self._run(scenario, max_batch_size=4, batch_timeout_micros=0)
    # What waits longest goes first, and takes along what fits.
    self.assertEqual(self.servable.batches, [1, 4, 4, 2, 4, 4, 4])

  def _test_a_slow_model_holds_up_no_other(self, **options):
    others = [_Doubler(name) for name in ("n", "o")]

    async def scenario(batcher):
      self.servable.gate.clear()
      slow = [self._submit_wide(batcher, 1) for _ in range(4)]
      await self._until_waiting(batcher, 2)
      for other in (*others, others[0]):
        await batcher.run(other, _SIGNATURE, _x(1))
      self.assertEqual(batcher.waiting, 2)  # The slow one has no more threads.
      self.assertFalse(any(task.done() for task in slow))
      self.servable.gate.set()
      await asyncio.gather(*slow)

    options |= {"num_models": 3, "num_batch_threads": 2}
    self._run(scenario, **options)
    self.assertEqual([other.batches for other in others], [[1, 1], [1]])
    self.assertEqual([other.users for other in (self.servable, *others)], [0, 0, 0])

  def test_a_slow_model_holds_up_no_other(self):
    self._test_a_slow_model_holds_up_no_other(max_batch_size=1)

  def test_without_batching_a_slow_model_holds_up_no_other(self):
    self._test_a_slow_model_holds_up_no_other(enabled=False)

  def test_a_model_begins_one_batch_beyond_the_threads(self):
    other = _Doubler("n")

    async def scenario(batcher):
      self.servable.gate.clear()
      other.gate.clear()
      tasks = [self._submit(batcher, 1)]
      await self._until_waiting(batcher, 0)
      tasks += [
        asyncio.ensure_future(batcher.run(other, _SIGNATURE, _x(1))) for _ in range(3)
      ]
      await self._until_waiting(batcher, 2)
      self.servable.gate.set()
      await tasks[0]
      await self._until_waiting(batcher, 2)  # The only thread is still the other's.
      other.gate.set()
      await asyncio.gather(*tasks)

    self._run(scenario, num_models=2, enabled=False)

  def test_the_bound_is_of_a_signature_whatever_its_shapes(self):
    other = dataclasses.replace(_SIGNATURE, name="other")

    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self._submit(batcher, 1)]
      await self._until_waiting(batcher, 0)
      tasks += [self._submit(batcher, 1, 2, 3, 4), self._submit_wide(batcher, 4)]
      await self._until_waiting(batcher, 8)
      for submit in (self._submit, self._submit_wide):
        with self.assertRaisesRegex(ServingError, "is full; 2 full batches"):
          await submit(batcher, 1)
      tasks.append(self._submit(batcher, 1, 2, 3, signature=other))
      await self._until_waiting(batcher, 11)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self._run(scenario, max_batch_size=4, max_enqueued_batches=2)

  def test_a_request_to_a_signature_without_batches_is_one(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self._submit(batcher, 1, signature=_UNBATCHED)]
      await self._until_waiting(batcher, 0)
      tasks += [self._submit(batcher, 1, signature=_UNBATCHED) for _ in range(2)]
      await self._until_waiting(batcher, 2)
      with self.assertRaisesRegex(ServingError, "is full; 2 full batches"):
        await self._submit(batcher, 1, signature=_UNBATCHED)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self._run(scenario, max_batch_size=100, max_enqueued_batches=2)

  def test_without_batching_any_number_waits(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self._submit(batcher, 1)]
      await self._until_waiting(batcher, 0)
      tasks += [self._submit_wide(batcher, 5) for _ in range(10)]
      await self._until_waiting(batcher, 50)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self._run(scenario, enabled=False, max_batch_size=4, max_enqueued_batches=1)

  def test_nobody_waits_where_nothing_runs(self):
    async def scenario(batcher):
      await self._submit(batcher, 1)
      await self._submit(batcher, 1)

    self._run(scenario, batch_timeout_micros=60_000_000)

  def test_beside_a_running_batch_only_a_full_one_leaves(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self._submit(batcher, 1)
      await self._until_waiting(batcher, 0)
      waits = self._submit(batcher, 1, 2)
      await asyncio.sleep(0.1)
      self.assertEqual(batcher.waiting, 2)
      full = self._submit(batcher, 3, 4)
      await self._until_waiting(batcher, 0)
      self.servable.gate.set()
      await asyncio.gather(running, waits, full)

    options = {"max_batch_size": 4, "num_batch_threads": 3}
    self._run(scenario, batch_timeout_micros=60_000_000, **options)
    self.assertCountEqual(self.servable.batches, [1, 4])

  def test_beside_a_running_batch_nobody_waits_beyond_the_timeout(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self._submit(batcher, 1)
      await self._until_waiting(batcher, 0)
      waits = self._submit(batcher, 1, 2)
      await self._until_waiting(batcher, 0)
      self.servable.gate.set()
      await asyncio.gather(running, waits)

    self._run(scenario, batch_timeout_micros=50_000, num_batch_threads=2)
    self.assertCountEqual(self.servable.batches, [1, 2])

  async def _until_waiting(self, batcher: Batcher, examples: int) -> None:
    await asyncio.sleep(0.02)  # Until what was submitted has arrived.
    while batcher.waiting != examples:
      await asyncio.sleep(0.01)

  def test_what_waits_leaves_when_the_running_batch_is_done(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self._submit(batcher, 1)
      await asyncio.sleep(0.05)
      waiting = [self._submit(batcher, 1) for _ in range(3)]
      await asyncio.sleep(0.05)
      self.servable.gate.set()
      await asyncio.gather(running, *waiting)

    self._run(scenario, batch_timeout_micros=60_000_000, num_batch_threads=2)
    self.assertEqual(self.servable.batches, [1, 3])

  def test_a_bad_request_harms_no_other(self):
    async def scenario(batcher):
      return await asyncio.gather(
        *(self._submit(batcher, value) for value in (1, -7, 3)),
        return_exceptions=True,
      )

    first, bad, last = self._run(scenario)
    np.testing.assert_array_equal(first["y"], [[2]])
    np.testing.assert_array_equal(last["y"], [[6]])
    self.assertRegex(str(bad), "negative: -7")

  def test_a_bad_request_among_many_costs_few_runs(self):
    async def scenario(batcher):
      return await asyncio.gather(
        *(self._submit(batcher, -7 if i == 300 else i) for i in range(512)),
        return_exceptions=True,
      )

    results = self._run(scenario)
    self.assertRegex(str(results.pop(300)), "negative: -7")
    got = [int(outputs["y"].item()) for outputs in results]
    self.assertEqual(got, [2 * i for i in range(512) if i != 300])
    self.assertLen(self.servable.batches, 1 + 2 * 9)

  def test_what_lacks_memory_together_runs_in_parts(self):
    self.servable.max_examples = 3

    async def scenario(batcher):
      return await asyncio.gather(*(self._submit(batcher, i, i) for i in range(10)))

    for i, outputs in enumerate(self._run(scenario)):
      np.testing.assert_array_equal(outputs["y"], [[2 * i], [2 * i]])

  def test_what_fails_alone_has_an_exception_of_its_own(self):
    self.servable.max_examples = 0

    async def scenario(batcher):
      tasks = [self._submit(batcher, i) for i in range(3)]
      return await asyncio.gather(*tasks, return_exceptions=True), batcher.waiting

    errors, waiting = self._run(scenario)
    self.assertEqual([type(error) for error in errors], [MemoryError] * 3)
    self.assertLen(set(map(id, errors)), 3)
    self.assertEqual(waiting, 0)
    self.assertEqual(self.servable.users, 0)

  def test_errors_keep_no_inputs(self):
    self.servable.max_examples = 2

    async def scenario(batcher):
      for requests in ([(-1,)], [(1, 2, 3)], [(-1,), (1, 2, 3), (-2,)]):
        feeds = [_x(*values) for values in requests]
        inputs = [weakref.ref(each["x"]) for each in feeds]
        runs = [batcher.run(self.servable, _SIGNATURE, each) for each in feeds]
        feeds.clear()
        errors = await asyncio.gather(*runs, return_exceptions=True)
        self.assertLen([e for e in errors if isinstance(e, Exception)], len(requests))
        del runs, errors
        while any(array() is not None for array in inputs):
          await asyncio.sleep(0.01)

    gc.disable()
    self.addCleanup(gc.enable)
    self._run(scenario)

  def test_inputs_that_cannot_be_joined_run_alone(self):
    async def scenario(batcher):
      tasks = [self._submit(batcher, i) for i in range(3)]
      return await asyncio.gather(*tasks)

    with mock.patch.object(np, "concatenate", side_effect=MemoryError("8 GB")):
      results = self._run(scenario)
    self.assertEqual([int(outputs["y"].item()) for outputs in results], [0, 2, 4])

  def test_what_is_cancelled_is_not_run(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      first = self._submit(batcher, 1)
      await asyncio.sleep(0.05)
      given_up, waits = self._submit(batcher, 2), self._submit(batcher, 3)
      await asyncio.sleep(0.05)
      given_up.cancel()
      await self._until_waiting(batcher, 1)  # It keeps nobody out.
      self.servable.gate.set()
      await asyncio.gather(first, waits)
      return batcher.waiting

    self.assertEqual(self._run(scenario), 0)
    self.assertEqual(self.servable.batches, [1, 1])

  def test_what_is_given_up_fails_at_once(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self._submit(batcher, 1)]
      await self._until_waiting(batcher, 0)
      tasks += [self._submit(batcher, 2), self._submit_wide(batcher, 1)]
      await self._until_waiting(batcher, 2)
      batcher.give_up(Code.UNAVAILABLE, "the end")
      return await asyncio.gather(*tasks, return_exceptions=True), batcher.waiting

    results, waiting = self._run(scenario)
    self.assertEqual([str(result) for result in results], ["the end"] * 3)
    self.assertLen(set(map(id, results)), 3)
    self.assertEqual(waiting, 0)
    self.assertEqual(self.servable.batches, [1])

  def test_too_large_requests_and_full_queues_are_refused(self):
    async def scenario(batcher):
      with self.assertRaisesRegex(ServingError, "Task size 5 is larger") as caught:
        await self._submit(batcher, 1, 2, 3, 4, 5)
      self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)
      self.servable.gate.clear()
      running = self._submit(batcher, 1)
      await asyncio.sleep(0.05)
      waiting = [self._submit(batcher, 1, 2, 3, 4) for _ in range(2)]
      await asyncio.sleep(0.05)
      with self.assertRaisesRegex(ServingError, "is full; 2 full batches") as caught:
        await self._submit(batcher, 1)
      self.assertEqual(caught.exception.code, Code.UNAVAILABLE)
      self.servable.gate.set()
      await asyncio.gather(running, *waiting)

    self._run(scenario, max_batch_size=4, max_enqueued_batches=2)

  def test_wrong_options_are_refused(self):
    with self.assertRaisesRegex(ValueError, "max_batch_size: got 0"):
      BatchingOptions(max_batch_size=0)


if __name__ == "__main__":
  absltest.main()
