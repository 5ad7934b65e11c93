"""One leg of a benchmark: a training job of real processes, and its speed."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from monolith.native_training.benchmarks.throughput import Throughput, read_throughput
from monolith.native_training.local_runner.local_cluster import (
  local_cluster,
  python_environment,
)
from monolith.native_training.local_runner.local_processes import LocalProcesses

_PACKAGE = "monolith.native_training.benchmarks"
_POLL_SECONDS = 0.1


class LegTooSlow(RuntimeError):
  """The processes did not end in time; they were ended."""


def run_leg(
  module: str,
  arguments: Sequence[str],
  num_ps: int,
  num_workers: int,
  warmup_seconds: float,
  seconds: float,
  check: Callable[[], None] = lambda: None,
) -> Throughput:
  """Runs a job on this machine.

  Args:
    module: the program of every process, in this folder, that knows the flags of
      `role_log` and of `movie_ranking:train`.
    arguments: further flags for it.
    num_ps: parameter servers; 0 with one worker is a job of one process.
    num_workers: workers.
    warmup_seconds: time after the first step that is not measured.
    seconds: about how long is measured.
    check: called often; what it raises ends the job.

  Raises:
    ProcessFailed: one of the processes.
    LegTooSlow: the job hangs.
  """
  limit = time.monotonic() + 120 + 2 * (warmup_seconds + seconds)
  with tempfile.TemporaryDirectory(prefix="monolith-leg-") as folder:
    logs = {}
    with LocalProcesses(lambda name, line: None) as processes:
      environment = python_environment()
      for task in local_cluster(num_ps, num_workers):
        logs[task.name] = os.path.join(folder, f"{task.role}-{task.index}.json")
        command = [sys.executable, "-m", f"{_PACKAGE}.{module}", *arguments]
        command.append(f"--seconds={warmup_seconds + seconds}")
        command.append(f"--role_log={logs[task.name]}")
        command.append(f"--model_dir={os.path.join(folder, 'model')}")
        task_environment = dict(environment)
        if num_ps:
          task_environment["TF_CONFIG"] = task.tf_config
        processes.start(task.name, command, task_environment)
      while processes.running():
        check()
        processes.check()
        if time.monotonic() > limit:
          raise LegTooSlow(f"{module}: still running: {', '.join(processes.running())}")
        time.sleep(_POLL_SECONDS)
      processes.check()
    return read_throughput(list(logs.values()), warmup_seconds)
