"""The environment of the processes that a run of the demo starts."""

from __future__ import annotations

import os

from monolith.native_training.local_runner.local_cluster import python_environment


def run_environment(run_dir: str) -> dict[str, str]:
  """That of this process, but for temporary files: those of processes that are killed,
  or leave in a hurry, are removed with the run's folder.

  Args:
    run_dir: the run's folder.
  """
  temporary = os.path.join(run_dir, "tmp")
  os.makedirs(temporary, exist_ok=True)
  return {**python_environment(), "TMPDIR": temporary}
