import os
import subprocess
import sys

from absl.testing import absltest

# The interpreter's last garbage collection finds the session and closes it.
_PROGRAM = """
import gc
import tensorflow as tf
from monolith.native_training.training.processes import closable_session

gc.disable()
cycle = [closable_session.ClosableSession(graph=tf.Graph())]
cycle.append(cycle)
"""


# A server that stands still for a while when the session is closed; and an interpreter
# that takes its time to go.
_WITH_A_SLOW_SERVER = """
import signal, subprocess, sys, time
import tensorflow as tf
from monolith.native_training.local_runner import local_cluster
from monolith.native_training.training.processes import closable_session

ps, worker = (f"127.0.0.1:{port}" for port in local_cluster.free_ports(2))
cluster = {"ps": [ps], "worker": [worker]}
program = f"import tensorflow as tf; tf.distribute.Server({cluster}, 'ps', 0).join()"
server = subprocess.Popen([sys.executable, "-c", program])
target = tf.distribute.Server(cluster, "worker", 0).target
with tf.Graph().as_default() as graph, tf.device("/job:ps/task:0"):
  one = tf.constant(0) + 1
session = closable_session.ClosableSession(target, graph=graph)
session.run(one)
server.send_signal(signal.SIGSTOP)
later = f"sleep 8; kill -CONT {server.pid}; sleep 1; kill -KILL {server.pid}"
subprocess.Popen(["sh", "-c", later])
session.close()

class Slow:
  def __del__(self, sleep=time.sleep):
    sleep(6)

sys.slow = Slow()
"""


class ClosableSessionTest(absltest.TestCase):
  def _run(self, program: str) -> None:
    run = subprocess.run(
      [sys.executable, "-c", program],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      capture_output=True,
      text=True,
      timeout=120,
    )
    self.assertEqual(run.returncode, 0, run.stderr)

  def test_a_session_that_is_left_open_keeps_no_process_from_ending(self):
    self._run(_PROGRAM)

  def test_one_that_is_closed_late_does_not_abort_the_process(self):
    self._run(_WITH_A_SLOW_SERVER)


if __name__ == "__main__":
  absltest.main()
