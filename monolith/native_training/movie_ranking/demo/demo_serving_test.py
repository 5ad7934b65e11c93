"""`--serve`: the curl line that the demo prints works."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.local_runner import local_cluster

_DEMO = "monolith.native_training.demo"
_SMALL = ("--dataset=synthetic", "--num_ratings=20000", "--epochs=1", "--num_workers=1")


class DemoServingTest(absltest.TestCase):
  def _start(self, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
      [sys.executable, "-m", _DEMO, "--serve", "--num_ps=0", *_SMALL, *flags],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )

  def test_the_line_that_it_prints_works(self):
    port, rest_port = local_cluster.free_ports(2)
    model_dir = os.path.join(self.create_tempdir().full_path, "model")
    demo = self._start(
      f"--model_dir={model_dir}",
      f"--serve_port={port}",
      f"--serve_rest_api_port={rest_port}",
    )
    self.addCleanup(demo.kill)
    printed = []
    for line in demo.stdout:
      printed.append(line)
      if "until you press Ctrl-C" in line:
        break
    output = "".join(printed)
    (command,) = re.findall(r"^  (curl .*)$", output, re.MULTILINE) or [output]
    answer = subprocess.run(
      command, shell=True, capture_output=True, text=True, timeout=60
    )
    ((rating,),) = json.loads(answer.stdout)["predictions"]
    self.assertBetween(rating, 0.0, 6.0)
    demo.send_signal(signal.SIGINT)
    self.assertIn("the model server has ended", demo.stdout.read())
    self.assertEqual(demo.wait(60), 0)
    with socket.socket() as probe:
      self.assertNotEqual(probe.connect_ex(("127.0.0.1", rest_port)), 0)


if __name__ == "__main__":
  absltest.main()
