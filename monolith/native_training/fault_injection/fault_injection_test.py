"""Rounds of real jobs: one without a fault, or some of a handful that covers every
kind."""

import json
import os
import pathlib
import subprocess
import sys

from absl import flags
from absl.testing import absltest

from monolith.native_training.local_runner.processes_naming import processes_naming

_ROUNDS = flags.DEFINE_integer("rounds", 0, "Disturbed rounds.")
_SKIP = flags.DEFINE_integer("skip", 0, "How many of them are left out, the first.")


class FaultInjectionTest(absltest.TestCase):
  def test_nothing_is_lost(self):
    folder = self.create_tempdir().full_path
    table = os.path.join(folder, "table.json")
    rounds = _ROUNDS.value
    run = subprocess.run(
      [
        sys.executable,
        "-m",
        "monolith.native_training.fault_injection.fault_injection",
        f"--rounds={rounds}",
        f"--skip={_SKIP.value}",
        "--undisturbed=1",
        f"--keep={folder}",
        f"--json={table}",
      ],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
      text=True,
    )
    self.assertEqual(run.returncode, 0, run.stdout)
    content = json.loads(pathlib.Path(table).read_text())
    self.assertEqual(content["rounds_lost"], 0)
    self.assertLen(content["rounds"], 1 + rounds - _SKIP.value)
    self.assertEqual([r["round"] for r in content["rounds"] if not r["struck"]], ["u1"])
    # Neither models nor processes are left.
    self.assertEqual(os.listdir(folder), ["table.json"])
    self.assertEqual(processes_naming(folder), [])


if __name__ == "__main__":
  absltest.main()
