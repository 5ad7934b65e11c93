"""Messages that do not come hold up neither memory nor other connections."""

from __future__ import annotations

import asyncio
import contextlib

from absl.testing import absltest

from monolith.serving.errors import Code, ServingError
from monolith.serving.rpc.places import Places


class PlacesTest(absltest.TestCase):
  def _run(self, scenario, count=8, max_waiting=100, wait_seconds=0.05) -> None:
    """Runs a coroutine function, which is given places and a stack that frees them."""

    async def run():
      async with contextlib.AsyncExitStack() as held:
        await asyncio.wait_for(
          scenario(Places(count, max_waiting, wait_seconds), held), 30
        )

    asyncio.run(run())

  async def _refused(self, places: Places, peer: str, message: str) -> None:
    with self.assertRaisesRegex(ServingError, message) as caught:
      async with places.one(peer):
        self.fail("there was a place")
    self.assertEqual(caught.exception.code, Code.RESOURCE_EXHAUSTED)

  def test_a_connection_has_a_part_of_the_places(self):
    async def scenario(places, held):
      for _ in range(2):
        await held.enter_async_context(places.one("stalled"))
      await self._refused(places, "stalled", "2 messages of this connection")
      async with places.one("other"):
        pass

    self._run(scenario)

  def test_all_connections_together_have_no_more_than_all(self):
    async def scenario(places, held):
      for index in range(8):
        await held.enter_async_context(places.one(f"peer {index // 2}"))
      await self._refused(places, "other", "8 messages of all connections")

    self._run(scenario)

  def test_who_waits_gets_the_place_that_becomes_free(self):
    async def scenario(places, held):
      for index in range(8):
        await held.enter_async_context(places.one(f"peer {index // 2}"))

      async def take(peer: str) -> str:
        async with places.one(peer):
          return peer

      tasks = [asyncio.create_task(take(peer)) for peer in ("peer 0", "other")]
      await asyncio.sleep(0.01)
      await held.aclose()
      self.assertEqual(await asyncio.gather(*tasks), ["peer 0", "other"])

    self._run(scenario, wait_seconds=20.0)

  def test_only_so_many_wait(self):
    async def scenario(places, held):
      for _ in range(2):
        await held.enter_async_context(places.one("stalled"))
      waiting = [
        asyncio.create_task(self._refused(places, "stalled", "")) for _ in range(3)
      ]
      await asyncio.sleep(0)
      await asyncio.wait_for(self._refused(places, "stalled", "2 messages"), 10)
      async with places.one("other"):  # Who need not wait is let in.
        pass
      for task in waiting:
        task.cancel()
      await asyncio.wait(waiting)
      await held.aclose()
      async with places.one("stalled"), places.one("stalled"):
        pass

    self._run(scenario, max_waiting=3, wait_seconds=20.0)

  def test_who_gives_up_leaves_no_trace(self):
    async def scenario(places, held):
      async with places.one("a"):  # All there are.
        waiting = asyncio.create_task(self._refused(places, "b", ""))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
      async with places.one("b"):
        pass

    self._run(scenario, count=1, wait_seconds=20.0)


if __name__ == "__main__":
  absltest.main()
