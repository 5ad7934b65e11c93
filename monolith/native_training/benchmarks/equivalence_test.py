"""The number of servers does not change what is learned.

Real processes: one worker with no, one, two and three parameter servers trains from
the same initial dense values on the same batches. The loss of every step agrees.
"""

import json
import os
import sys
import tempfile
import time

import numpy as np
from absl.testing import absltest

from monolith.native_training.local_runner.local_cluster import (
  local_cluster,
  python_environment,
)
from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)

_PROGRAM = "monolith.native_training.benchmarks.loss_curve"
_STEPS = 200
_RELATIVE = 1e-5
_LIMIT_SECONDS = 120


def _loss_curve(num_ps: int) -> np.ndarray:
  """Losses, float64 `[steps]`, of a job of one worker."""
  with (
    tempfile.TemporaryDirectory() as folder,
    LocalProcesses(lambda name, line: None) as processes,
  ):
    output = os.path.join(folder, "losses.json")
    command = [sys.executable, "-m", _PROGRAM, f"--output={output}"]
    command += [f"--steps={_STEPS}", f"--model_dir={os.path.join(folder, 'model')}"]
    for task in local_cluster(num_ps, 1):
      environment = {**python_environment(), "TF_CONFIG": task.tf_config}
      processes.start(task.name, command, environment)
    limit = time.monotonic() + _LIMIT_SECONDS
    while processes.running():
      if time.monotonic() > limit:
        raise TimeoutError(f"still running: {', '.join(processes.running())}")
      processes.check()
      time.sleep(0.1)
    processes.check()
    with open(output) as file:
      return np.array(json.load(file))


class EquivalenceTest(absltest.TestCase):
  def test_any_number_of_servers_gives_the_same_loss_curve(self):
    try:
      curves = {num_ps: _loss_curve(num_ps) for num_ps in (0, 1, 2, 3)}
    except ProcessFailed as failure:
      self.fail("\n".join([*failure.last_lines, str(failure)]))
    alone = curves[0]
    self.assertLen(alone, _STEPS)
    self.assertLess(alone[-20:].mean(), 0.5 * alone[:20].mean(), "nothing was learned")
    for num_ps, curve in curves.items():
      difference = np.max(np.abs(curve - alone) / alone)
      print(f"{num_ps} servers: largest relative difference {difference:.1e}")
      np.testing.assert_allclose(
        curve, alone, rtol=_RELATIVE, err_msg=f"{num_ps} servers"
      )


if __name__ == "__main__":
  absltest.main()
