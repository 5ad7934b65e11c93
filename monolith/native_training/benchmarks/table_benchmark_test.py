"""The benchmark of tables runs, with sizes that measure nothing."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from monolith.native_training.local_runner.local_cluster import python_environment

_PROGRAM = "monolith.native_training.benchmarks.table_benchmark"


class TableBenchmarkTest(unittest.TestCase):
  def test_compares_tables_and_writes_what_it_found(self):
    with tempfile.TemporaryDirectory() as folder:
      json_path = os.path.join(folder, "result.json")
      png_path = os.path.join(folder, "result.png")
      run = subprocess.run(
        [
          *(sys.executable, "-m", _PROGRAM, "--peers=tensorflow"),
          *("--ids=3000", "--dim=8", "--batch=256", "--seconds=0.01"),
          *("--repetitions=2", "--growth_repetitions=2"),
          *(f"--json={json_path}", f"--png={png_path}"),
        ],
        env={**python_environment(), "MPLCONFIGDIR": folder},
        capture_output=True,
        text=True,
      )
      self.assertEqual(run.returncode, 0, run.stderr)
      with open(json_path) as file:
        result = json.load(file)
      with open(png_path, "rb") as file:
        self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")
    self.assertEqual(
      list(result["lookup"]),
      ["monolith", "DenseHashTable", "MutableHashTable", "tf.gather"],
    )
    self.assertEqual(
      list(result["update"]), ["monolith Adagrad", "tf.Variable Adagrad"]
    )
    for operation in ("lookup", "update"):
      for system, summary in result[operation].items():
        with self.subTest(system=system):
          self.assertEqual(summary["turns"], 2)
          self.assertGreater(summary["million_ids_per_second"]["median"], 0)
          self.assertIn(system, run.stdout)
    self.assertGreater(result["canary"]["longest_undisturbed_seconds"], 0)
    for system, summary in result["growth"].items():
      with self.subTest(growing=system):
        self.assertEqual(len(summary["all"]), 2)
        slowest, median = (
          summary[f"{which}_milliseconds"]["median"] for which in ("slowest", "median")
        )
        self.assertGreaterEqual(slowest, median)
    growth = result["growth"]["monolith"]
    self.assertGreater(growth["accounted_bytes_per_id"]["median"], 32)


if __name__ == "__main__":
  unittest.main()
