import os
import signal
import subprocess
import sys
import threading
import time

from absl.testing import absltest

from monolith.native_training.training.processes import stop_request

_HANGS = """
import time
from monolith.native_training.training.processes import stop_request
with stop_request.on_sigterm() as stop:
  print("begun", flush=True)
  while not stop.is_made():
    time.sleep(0.01)
  print("asked", flush=True)
  while True:
    time.sleep(1)
"""


def _wait_for(is_so) -> bool:
  give_up = time.monotonic() + 30
  while not is_so() and time.monotonic() < give_up:
    time.sleep(0.01)
  return is_so()


class StopRequestTest(absltest.TestCase):
  def test_sigterm_is_a_request_in_the_context_only(self):
    called = []
    before = signal.signal(signal.SIGTERM, lambda *_: called.append(1))
    self.addCleanup(signal.signal, signal.SIGTERM, before)
    with stop_request.on_sigterm() as stop:
      self.assertFalse(stop.is_made())
      stop.leave_if_made()
      os.kill(os.getpid(), signal.SIGTERM)
      self.assertTrue(_wait_for(stop.is_made))
      with self.assertRaises(SystemExit) as leaving:
        stop.leave_if_made()
      self.assertEqual(leaving.exception.code, 143)
    self.assertEmpty(called)
    os.kill(os.getpid(), signal.SIGTERM)
    self.assertEqual(called, [1])

  def test_nothing_is_asked_of_another_thread(self):
    made = []

    def ask() -> None:
      with stop_request.on_sigterm() as stop:
        made.append(stop.is_made())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    self.assertEqual(made, [False])

  def test_the_second_ends_the_process_at_once(self):
    process = subprocess.Popen(
      [sys.executable, "-c", _HANGS],
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    self.addCleanup(process.kill)
    self.assertEqual(process.stdout.readline(), b"begun\n")
    process.send_signal(signal.SIGTERM)
    self.assertEqual(process.stdout.readline(), b"asked\n")
    process.send_signal(signal.SIGTERM)
    self.assertEqual(process.wait(30), 143)
    process.stdout.close()


if __name__ == "__main__":
  absltest.main()
