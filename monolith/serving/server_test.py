"""The end of the server."""

import asyncio
import contextlib
import threading
from unittest import mock

import aiohttp
import grpc.aio
from absl.testing import absltest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from monolith.native_training.local_runner import local_cluster
from monolith.serving import server
from monolith.serving.admission import Admission


class ServerTest(absltest.TestCase):
  def _end(self, work: threading.Event, end_seconds: float) -> server.Ending:
    """Of a server whose event loop has a thread that waits for an event."""

    async def run() -> server.Ending:
      stop = asyncio.Event()
      stop.set()
      asyncio.get_running_loop().run_in_executor(None, work.wait)
      options = server.ServerOptions([], port=None)
      try:
        return await asyncio.wait_for(server.serve(options, stop), 30)
      finally:
        work.set()

    with mock.patch.object(server, "_END_SECONDS", end_seconds):
      return asyncio.run(run())

  def test_threads_that_do_not_end_are_not_waited_for(self):
    self.assertEqual(self._end(threading.Event(), 0.5), server.Ending(True, False))

  def test_threads_that_end_are_over(self):
    work = threading.Event()
    work.set()
    self.assertEqual(self._end(work, 20.0), server.Ending(True, True))

  def test_it_says_that_it_ends_while_it_still_answers(self):
    may_go_on = asyncio.Semaphore(0)
    kind = health_pb2.HealthCheckResponse

    async def quiet(admission: Admission, seconds: float, at_most: float) -> None:
      await may_go_on.acquire()

    async def ask(port: int, rest_port: int) -> tuple[int, int, str | None]:
      """The health by gRPC and by HTTP, and what becomes of a connection."""
      async with contextlib.AsyncExitStack() as stack:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        health = health_pb2_grpc.HealthStub(await stack.enter_async_context(channel))
        answer = await health.Check(
          health_pb2.HealthCheckRequest(), wait_for_ready=True
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url = f"http://127.0.0.1:{rest_port}/health"
        response = await stack.enter_async_context(session.get(url))
        return answer.status, response.status, response.headers.get("Connection")

    async def run() -> None:
      ports = local_cluster.free_ports(2)
      options = server.ServerOptions([], port=ports[0], rest_api_port=ports[1])
      stop = asyncio.Event()
      serving = asyncio.ensure_future(server.serve(options, stop))
      self.assertEqual(await ask(*ports), (kind.SERVING, 200, None))
      stop.set()
      await asyncio.sleep(0)
      self.assertEqual(await ask(*ports), (kind.NOT_SERVING, 503, "close"))
      self.assertFalse(serving.done())
      may_go_on.release()
      may_go_on.release()
      self.assertEqual(await serving, server.Ending(True, True))

    with mock.patch.object(Admission, "quiet", quiet):
      asyncio.run(asyncio.wait_for(run(), 30))


if __name__ == "__main__":
  absltest.main()
