"""The demo as a user runs it: 2 servers and 2 workers on the real ratings."""

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.local_runner.processes_naming import processes_naming

_DEMO = "monolith.native_training.demo"


class DemoEndToEndTest(absltest.TestCase):
  def test_trains_on_the_real_ratings(self):
    folder = self.create_tempdir().full_path
    result_json = os.path.join(folder, "result.json")
    model_dir = os.path.join(folder, "model")
    run = subprocess.run(
      [
        sys.executable,
        "-m",
        _DEMO,
        "--training_type=batch",
        "--epochs=1",
        f"--model_dir={model_dir}",
        f"--result_json={result_json}",
        "--cxxopt=-std=c++14",
      ],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    self.assertEqual(run.returncode, 0, run.stdout)
    result = json.loads(pathlib.Path(result_json).read_text())
    self.assertContainsSubset(
      {
        "training_type",
        "dataset",
        "examples",
        "seconds",
        "examples_per_second",
        "test_rmse",
        "tables",
      },
      result.keys(),
    )
    self.assertEqual(result["dataset"], "100k")
    # One epoch reaches 0.99; always guessing the mean rating, 1.126.
    self.assertLess(result["test_rmse"], 1.03)
    # Each of the two workers leaves out what does not fill a batch.
    self.assertBetween(result["examples"], 89_809 - 2 * 512, 89_809)
    self.assertGreater(result["seconds"], 0)
    # A few movies have all their ratings in the part held out.
    self.assertEqual(result["tables"]["uid"], 943)
    self.assertBetween(result["tables"]["mov"], 1_600, 1_664)
    self.assertIn("ignored, not flags of this demo: --cxxopt=-std=c++14", run.stdout)
    self.assertEqual(processes_naming(model_dir), [])
    self.assertTrue(any(p.name.startswith("events.") for p in _files(model_dir)))


def _files(folder: str) -> list[pathlib.Path]:
  return list(pathlib.Path(folder).iterdir())


if __name__ == "__main__":
  absltest.main()
