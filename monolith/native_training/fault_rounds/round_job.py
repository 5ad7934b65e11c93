"""The job of a round: real processes, which are watched and started again."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Sequence

from monolith.native_training.local_runner.local_cluster import (
  Task,
  local_cluster,
  python_environment,
)
from monolith.native_training.local_runner.local_processes import ProcessFailed
from monolith.native_training.local_runner.restarts import (
  RestartingProcesses,
  RestartPolicy,
)

CHIEF = "worker 0"
_POLICY = RestartPolicy(first_pause_seconds=0.5, longest_pause_seconds=4.0)
_POLL_SECONDS = 0.02
# Longer than a restart takes, and short enough for a job that cannot go on to end.
_SILENCE_SECONDS = 60


@dataclasses.dataclass
class JobEnd:
  """How a job ended.

  Attributes:
    failure: why it did not end by itself, or `""`.
    exit_codes: of each process; None where it had to be ended.
    restarts: of each process.
    seconds: from the start to the last process's end.
  """

  failure: str
  exit_codes: dict[str, int | None]
  restarts: dict[str, int]
  seconds: float


class RoundJob:
  """Runs a job in a folder of its own, and leaves no process behind.

  Args:
    module: what each process runs.
    folder: new; gets the model, all logs and a log of restarts.
    servers: how many.
    workers: how many; the first is chief.
    limit_seconds: after that the job is ended.
    check: called often; what it raises ends the job.

  Attributes:
    model_dir: where the model is.
    logs: folder of the processes' logs.
    progress_files: of the workers, in their order.
  """

  def __init__(
    self,
    module: str,
    folder: str,
    servers: int,
    workers: int,
    limit_seconds: float,
    check: Callable[[], None] = lambda: None,
  ):
    self._module = module
    self._folder = folder
    self._limit_seconds = limit_seconds
    self._check = check
    self._tasks = local_cluster(servers, workers)
    self.model_dir = os.path.join(folder, "model")
    self.logs = os.path.join(folder, "logs")
    self.progress_files = [
      self._progress_file(task) for task in self._tasks if task.role == "worker"
    ]

  def run(
    self, flags: Sequence[str], watch: Callable[[RestartingProcesses], None]
  ) -> JobEnd:
    """Runs it to its end, or until it is given up.

    Args:
      flags: of each process, beside those that every job has.
      watch: called again and again while processes run.
    """
    for folder in (self.logs, self.model_dir):
      os.makedirs(folder)
    begin = time.monotonic()
    ignore = lambda name, line: None  # noqa: E731  # Logs have it.
    with RestartingProcesses(ignore, self.logs, self.tell, _POLICY) as processes:
      environment = python_environment()
      for task in self._tasks:
        processes.start(
          task.name,
          [*self._command(task), *flags],
          {**environment, "TF_CONFIG": task.tf_config},
        )
      failure = self._watch(processes, watch, begin + self._limit_seconds)
      exit_codes, restarts = processes.exit_codes(), processes.restarts
    return JobEnd(failure, exit_codes, restarts, time.monotonic() - begin)

  def tell(self, sentence: str) -> None:
    """Writes to the log of restarts."""
    with open(os.path.join(self._folder, "restarts.log"), "a") as file:
      file.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")

  def _watch(
    self,
    processes: RestartingProcesses,
    watch: Callable[[RestartingProcesses], None],
    give_up: float,
  ) -> str:
    """Returns why the job is given up, or `""` when it is over."""
    while processes.running():
      self._check()
      try:
        watch(processes)
        processes.check()
      except ProcessFailed as failure:
        return str(failure)
      if processes.exit_codes()[CHIEF] == 0:
        processes.end_restarts()  # The job is over; nobody is needed any more.
      if time.monotonic() > give_up:
        staying = ", ".join(processes.running())
        return f"not over after {self._limit_seconds:.0f} s: {staying}"
      time.sleep(_POLL_SECONDS)
    return ""

  def _progress_file(self, task: Task) -> str:
    return os.path.join(self._folder, f"{task.role}-{task.index}.json")

  def _command(self, task: Task) -> list[str]:
    return [
      sys.executable,
      "-m",
      self._module,
      f"--model_dir={self.model_dir}",
      f"--worker_timeout_secs={_SILENCE_SECONDS}",
      f"--progress_file={self._progress_file(task)}",
    ]
