"""A round for each victim: a worker, a server, the broker and the chief."""

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.stream_delivery import kill_plan


class StreamFaultsTest(absltest.TestCase):
  def test_no_message_is_skipped(self):
    folder = self.create_tempdir().full_path
    table = os.path.join(folder, "table.json")
    run = subprocess.run(
      [
        sys.executable,
        "-m",
        "monolith.native_training.stream_delivery.stream_faults",
        f"--rounds={len(kill_plan.VICTIMS)}",
        f"--keep={os.environ.get('TEST_UNDECLARED_OUTPUTS_DIR', folder)}",
        f"--json={table}",
      ],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
      text=True,
    )
    self.assertEqual(run.returncode, 0, run.stdout)
    content = json.loads(pathlib.Path(table).read_text())
    self.assertEqual(content["rounds_lost"], 0)
    self.assertEqual(
      [r["kill"]["victim"] for r in content["rounds"]], list(kill_plan.VICTIMS)
    )
    self.assertEqual([r["missing"] for r in content["rounds"]], [0] * 4)


if __name__ == "__main__":
  absltest.main()
