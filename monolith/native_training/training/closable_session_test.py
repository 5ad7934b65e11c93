import os
import subprocess
import sys

from absl.testing import absltest

# The interpreter's last garbage collection finds the session and closes it.
_PROGRAM = """
import gc
import tensorflow as tf
from monolith.native_training.training import closable_session

gc.disable()
cycle = [closable_session.ClosableSession(graph=tf.Graph())]
cycle.append(cycle)
"""


class ClosableSessionTest(absltest.TestCase):
  def test_a_session_that_is_left_open_keeps_no_process_from_ending(self):
    run = subprocess.run(
      [sys.executable, "-c", _PROGRAM],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      capture_output=True,
      text=True,
      timeout=60,
    )
    self.assertEqual(run.returncode, 0, run.stderr)


if __name__ == "__main__":
  absltest.main()
