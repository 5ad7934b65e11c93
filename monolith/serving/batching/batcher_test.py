"""Requests run together come out as if each had run alone."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import weakref
from unittest import mock

import numpy as np
from absl.testing import absltest

from monolith.serving.batching.batcher_test_case import (
  SIGNATURE,
  UNBATCHED,
  BatcherTestCase,
  x_of,
)
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import Code, ServingError


class BatcherTest(BatcherTestCase):
  def test_requests_that_come_together_are_one_batch(self):
    async def scenario(batcher):
      return await asyncio.gather(*(self.submit(batcher, i, i + 1) for i in range(10)))

    for i, outputs in enumerate(self.run_scenario(scenario)):
      np.testing.assert_array_equal(outputs["y"], [[2 * i], [2 * i + 2]])
    self.assertEqual(self.servable.batches, [20])
    self.assertEqual(self.servable.users, 0)

  def test_batches_keep_to_their_size(self):
    async def scenario(batcher):
      await asyncio.gather(*(self.submit(batcher, 1, 2, 3) for _ in range(5)))

    self.run_scenario(scenario, max_batch_size=7)
    self.assertEqual(self.servable.batches, [6, 6, 3])

  def test_without_batching_each_runs_alone(self):
    async def scenario(batcher):
      await asyncio.gather(*(self.submit(batcher, 1) for _ in range(5)))

    self.run_scenario(scenario, enabled=False, batch_timeout_micros=60_000_000)
    self.assertEqual(self.servable.batches, [1] * 5)

  def test_without_batching_requests_are_of_any_size(self):
    async def scenario(batcher):
      return await self.submit(batcher, 1, 2, 3, 4, 5)

    outputs = self.run_scenario(scenario, enabled=False, max_batch_size=2)
    np.testing.assert_array_equal(outputs["y"][:, 0], [2, 4, 6, 8, 10])

  def test_a_signature_without_batches_runs_alone(self):
    async def scenario(batcher):
      await asyncio.gather(
        *(self.submit(batcher, 1, 2, signature=UNBATCHED) for _ in range(3))
      )

    self.run_scenario(scenario)
    self.assertEqual(self.servable.batches, [2, 2, 2])

  def test_other_inner_shapes_go_apart(self):
    async def scenario(batcher):
      wide = {"x": np.ones((4, 3), np.int64)}
      return await asyncio.gather(
        self.submit(batcher, 1), batcher.run(self.servable, SIGNATURE, wide)
      )

    narrow, wide = self.run_scenario(scenario)
    self.assertEqual(narrow["y"].shape, (1, 1))
    self.assertEqual(wide["y"].shape, (4, 3))

  def test_a_busy_queue_does_not_starve_another(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self.submit(batcher, 1)]
      await self.until_waiting(batcher, 0)
      for other in (False, False, True, False, False, True, False):
        if other:
          tasks.append(self.submit_wide(batcher, 1))
        else:
          tasks.append(self.submit(batcher, 1, 2, 3, 4))
        await asyncio.sleep(0.01)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self.run_scenario(scenario, max_batch_size=4, batch_timeout_micros=0)
    # What waits longest goes first, and takes along what fits.
    self.assertEqual(self.servable.batches, [1, 4, 4, 2, 4, 4, 4])

  def test_the_bound_is_of_a_signature_whatever_its_shapes(self):
    other = dataclasses.replace(SIGNATURE, name="other")

    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self.submit(batcher, 1)]
      await self.until_waiting(batcher, 0)
      tasks += [self.submit(batcher, 1, 2, 3, 4), self.submit_wide(batcher, 4)]
      await self.until_waiting(batcher, 8)
      for submit in (self.submit, self.submit_wide):
        with self.assertRaisesRegex(ServingError, "is full; 2 full batches"):
          await submit(batcher, 1)
      tasks.append(self.submit(batcher, 1, 2, 3, signature=other))
      await self.until_waiting(batcher, 11)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self.run_scenario(scenario, max_batch_size=4, max_enqueued_batches=2)

  def test_a_request_to_a_signature_without_batches_is_one(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self.submit(batcher, 1, signature=UNBATCHED)]
      await self.until_waiting(batcher, 0)
      tasks += [self.submit(batcher, 1, signature=UNBATCHED) for _ in range(2)]
      await self.until_waiting(batcher, 2)
      with self.assertRaisesRegex(ServingError, "is full; 2 full batches"):
        await self.submit(batcher, 1, signature=UNBATCHED)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self.run_scenario(scenario, max_batch_size=100, max_enqueued_batches=2)

  def test_without_batching_any_number_waits(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self.submit(batcher, 1)]
      await self.until_waiting(batcher, 0)
      tasks += [self.submit_wide(batcher, 5) for _ in range(10)]
      await self.until_waiting(batcher, 50)
      self.servable.gate.set()
      await asyncio.gather(*tasks)

    self.run_scenario(scenario, enabled=False, max_batch_size=4, max_enqueued_batches=1)

  def test_nobody_waits_where_nothing_runs(self):
    async def scenario(batcher):
      await self.submit(batcher, 1)
      await self.submit(batcher, 1)

    self.run_scenario(scenario, batch_timeout_micros=60_000_000)

  def test_beside_a_running_batch_only_a_full_one_leaves(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self.submit(batcher, 1)
      await self.until_waiting(batcher, 0)
      waits = self.submit(batcher, 1, 2)
      await asyncio.sleep(0.1)
      self.assertEqual(batcher.waiting, 2)
      full = self.submit(batcher, 3, 4)
      await self.until_waiting(batcher, 0)
      self.servable.gate.set()
      await asyncio.gather(running, waits, full)

    options = {"max_batch_size": 4, "num_batch_threads": 3}
    self.run_scenario(scenario, batch_timeout_micros=60_000_000, **options)
    self.assertCountEqual(self.servable.batches, [1, 4])

  def test_beside_a_running_batch_nobody_waits_beyond_the_timeout(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self.submit(batcher, 1)
      await self.until_waiting(batcher, 0)
      waits = self.submit(batcher, 1, 2)
      await self.until_waiting(batcher, 0)
      self.servable.gate.set()
      await asyncio.gather(running, waits)

    self.run_scenario(scenario, batch_timeout_micros=50_000, num_batch_threads=2)
    self.assertCountEqual(self.servable.batches, [1, 2])

  def test_what_waits_leaves_when_the_running_batch_is_done(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      running = self.submit(batcher, 1)
      await asyncio.sleep(0.05)
      waiting = [self.submit(batcher, 1) for _ in range(3)]
      await asyncio.sleep(0.05)
      self.servable.gate.set()
      await asyncio.gather(running, *waiting)

    self.run_scenario(scenario, batch_timeout_micros=60_000_000, num_batch_threads=2)
    self.assertEqual(self.servable.batches, [1, 3])

  def test_a_bad_request_harms_no_other(self):
    async def scenario(batcher):
      return await asyncio.gather(
        *(self.submit(batcher, value) for value in (1, -7, 3)),
        return_exceptions=True,
      )

    first, bad, last = self.run_scenario(scenario)
    np.testing.assert_array_equal(first["y"], [[2]])
    np.testing.assert_array_equal(last["y"], [[6]])
    self.assertRegex(str(bad), "negative: -7")

  def test_a_bad_request_among_many_costs_few_runs(self):
    async def scenario(batcher):
      return await asyncio.gather(
        *(self.submit(batcher, -7 if i == 300 else i) for i in range(512)),
        return_exceptions=True,
      )

    results = self.run_scenario(scenario)
    self.assertRegex(str(results.pop(300)), "negative: -7")
    got = [int(outputs["y"].item()) for outputs in results]
    self.assertEqual(got, [2 * i for i in range(512) if i != 300])
    self.assertLen(self.servable.batches, 1 + 2 * 9)

  def test_what_lacks_memory_together_runs_in_parts(self):
    self.servable.max_examples = 3

    async def scenario(batcher):
      return await asyncio.gather(*(self.submit(batcher, i, i) for i in range(10)))

    for i, outputs in enumerate(self.run_scenario(scenario)):
      np.testing.assert_array_equal(outputs["y"], [[2 * i], [2 * i]])

  def test_what_fails_alone_has_an_exception_of_its_own(self):
    self.servable.max_examples = 0

    async def scenario(batcher):
      tasks = [self.submit(batcher, i) for i in range(3)]
      return await asyncio.gather(*tasks, return_exceptions=True), batcher.waiting

    errors, waiting = self.run_scenario(scenario)
    self.assertEqual([type(error) for error in errors], [MemoryError] * 3)
    self.assertLen(set(map(id, errors)), 3)
    self.assertEqual(waiting, 0)
    self.assertEqual(self.servable.users, 0)

  def test_errors_keep_no_inputs(self):
    self.servable.max_examples = 2

    async def scenario(batcher):
      for requests in ([(-1,)], [(1, 2, 3)], [(-1,), (1, 2, 3), (-2,)]):
        feeds = [x_of(*values) for values in requests]
        inputs = [weakref.ref(each["x"]) for each in feeds]
        runs = [batcher.run(self.servable, SIGNATURE, each) for each in feeds]
        feeds.clear()
        errors = await asyncio.gather(*runs, return_exceptions=True)
        self.assertLen([e for e in errors if isinstance(e, Exception)], len(requests))
        del runs, errors
        while any(array() is not None for array in inputs):
          await asyncio.sleep(0.01)

    gc.disable()
    self.addCleanup(gc.enable)
    self.run_scenario(scenario)

  def test_inputs_that_cannot_be_joined_run_alone(self):
    async def scenario(batcher):
      tasks = [self.submit(batcher, i) for i in range(3)]
      return await asyncio.gather(*tasks)

    with mock.patch.object(np, "concatenate", side_effect=MemoryError("8 GB")):
      results = self.run_scenario(scenario)
    self.assertEqual([int(outputs["y"].item()) for outputs in results], [0, 2, 4])

  def test_what_is_cancelled_is_not_run(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      first = self.submit(batcher, 1)
      await asyncio.sleep(0.05)
      given_up, waits = self.submit(batcher, 2), self.submit(batcher, 3)
      await asyncio.sleep(0.05)
      given_up.cancel()
      await self.until_waiting(batcher, 1)  # It keeps nobody out.
      self.servable.gate.set()
      await asyncio.gather(first, waits)
      return batcher.waiting

    self.assertEqual(self.run_scenario(scenario), 0)
    self.assertEqual(self.servable.batches, [1, 1])

  def test_what_is_given_up_fails_at_once(self):
    async def scenario(batcher):
      self.servable.gate.clear()
      tasks = [self.submit(batcher, 1)]
      await self.until_waiting(batcher, 0)
      tasks += [self.submit(batcher, 2), self.submit_wide(batcher, 1)]
      await self.until_waiting(batcher, 2)
      batcher.give_up(Code.UNAVAILABLE, "the end")
      return await asyncio.gather(*tasks, return_exceptions=True), batcher.waiting

    results, waiting = self.run_scenario(scenario)
    self.assertEqual([str(result) for result in results], ["the end"] * 3)
    self.assertLen(set(map(id, results)), 3)
    self.assertEqual(waiting, 0)
    self.assertEqual(self.servable.batches, [1])

  def test_too_large_requests_and_full_queues_are_refused(self):
    async def scenario(batcher):
      with self.assertRaisesRegex(ServingError, "Task size 5 is larger") as caught:
        await self.submit(batcher, 1, 2, 3, 4, 5)
      self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)
      self.servable.gate.clear()
      running = self.submit(batcher, 1)
      await asyncio.sleep(0.05)
      waiting = [self.submit(batcher, 1, 2, 3, 4) for _ in range(2)]
      await asyncio.sleep(0.05)
      with self.assertRaisesRegex(ServingError, "is full; 2 full batches") as caught:
        await self.submit(batcher, 1)
      self.assertEqual(caught.exception.code, Code.UNAVAILABLE)
      self.servable.gate.set()
      await asyncio.gather(running, *waiting)

    self.run_scenario(scenario, max_batch_size=4, max_enqueued_batches=2)

  def test_wrong_options_are_refused(self):
    with self.assertRaisesRegex(ValueError, "max_batch_size: got 0"):
      BatchingOptions(max_batch_size=0)


if __name__ == "__main__":
  absltest.main()
