"""What becomes of a request that fails, or is too much."""

import asyncio
import contextlib
import time

from absl.testing import absltest

from monolith.serving.admission import PREDICT, Admission, Call, Limits
from monolith.serving.errors import Code, ServingError
from monolith.serving.metrics import Metrics


class AdmissionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.admission = Admission(Limits(max_bytes_in_flight=100), Metrics({}))

  def _call(self) -> contextlib.closing[Call]:
    return contextlib.closing(self.admission.begin(PREDICT, "rest"))

  def _code_after(self, error: Exception) -> Code:
    with self._call() as call, self.assertRaises(ServingError) as caught:
      with call.answering():
        raise error
    self.assertEqual(call.code, caught.exception.code)
    return call.code

  def _refused(self, call: Call, size: int) -> None:
    with self.assertRaisesRegex(ServingError, "more than 100 bytes") as caught:
      call.grow(size)
    self.assertEqual(caught.exception.code, Code.RESOURCE_EXHAUSTED)

  def test_a_request_without_memory_harms_only_itself(self):
    self.assertEqual(self._code_after(MemoryError("8 GB")), Code.RESOURCE_EXHAUSTED)
    self.assertEqual(self._code_after(KeyError("a mistake")), Code.INTERNAL)
    self.assertEqual(self.admission.in_flight, 0)

  def test_bodies_of_all_requests_are_bounded(self):
    with self._call() as first:
      first.grow(60)
      with self._call() as second:
        second.grow(30)
        self._refused(second, 30)
      first.grow(40)
    with self._call() as last:
      last.grow(100)

  def test_what_a_body_becomes_counts_in_its_place(self):
    with self._call() as first:
      first.grow(40)
      first.expand(30)
      self.assertEqual(first.size, 40)
      first.expand(90)
      self.assertEqual(first.size, 90)
      with self._call() as second:
        second.grow(5)
        with self.assertRaisesRegex(ServingError, "more than 100 bytes"):
          second.expand(11)
      first.answer(100)

  def test_answers_count_until_they_are_written(self):
    with self._call() as first:
      with first.answering():
        first.grow(60)
        first.answer(90)  # In the place of the body.
      with self._call() as second:
        second.grow(10)
        self._refused(second, 1)
        with self.assertRaisesRegex(ServingError, "bodies and answers"):
          second.answer(11)
    with self._call() as last:
      last.grow(100)
    self.assertEqual(self.admission.in_flight, 0)

  def test_held_requests_wait_until_they_are_released(self):
    async def scenario() -> None:
      with self._call() as call:
        await call.wait_while_held(None)  # None is held.
        self.admission.hold()
        await call.wait_while_held(0.01)  # Half of that is less than for ever.
        held = asyncio.ensure_future(call.wait_while_held(None))
        await asyncio.sleep(0.01)
        self.assertFalse(held.done())
        self.admission.release()
        await asyncio.wait_for(held, 30)

    asyncio.run(scenario())

  def test_quiet_is_when_nothing_has_begun_for_some_time(self):
    async def scenario() -> None:
      await self.admission.quiet(30.0, at_most=30.0)
      with self._call() as call:
        await self.admission.quiet(0.1, at_most=30.0)
        self.assertGreaterEqual(time.perf_counter() - call.began, 0.1)
        await self.admission.quiet(30.0, at_most=0.01)

    asyncio.run(asyncio.wait_for(scenario(), 20))


if __name__ == "__main__":
  absltest.main()
