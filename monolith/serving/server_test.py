"""The end of the server."""

import asyncio
import threading
from unittest import mock

from absl.testing import absltest

from monolith.serving import server


class ServerTest(absltest.TestCase):
  def _end(self, work: threading.Event) -> server.Ending:
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

    with mock.patch.object(server, "_END_SECONDS", 0.5):
      return asyncio.run(run())

  def test_threads_that_do_not_end_are_not_waited_for(self):
    self.assertEqual(self._end(threading.Event()), server.Ending(True, False))

  def test_threads_that_end_are_over(self):
    work = threading.Event()
    work.set()
    self.assertEqual(self._end(work), server.Ending(True, True))


if __name__ == "__main__":
  absltest.main()
