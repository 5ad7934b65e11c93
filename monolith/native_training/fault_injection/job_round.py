"""One round: a job of real processes, what is killed in it, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable

from monolith.native_training.fault_injection import (
  asked,
  fault_plan,
  save_phases,
  strike,
)
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
from monolith.native_training.local_runner.training_progress import ProgressFiles

_JOB = "monolith.native_training.fault_injection.job"
_POLICY = RestartPolicy(first_pause_seconds=0.5, longest_pause_seconds=4.0)
_POLL_SECONDS = 0.02
# Longer than a restart takes, and short enough for a job that cannot go on to end.
_SILENCE_SECONDS = 60
# When the chief has ended the job well; who comes back later has no job to join.
_LEAVE_SECONDS = 15.0


@dataclasses.dataclass
class Outcome:
  """How a round ended.

  Attributes:
    fault: what was to be killed.
    folder: of the round.
    struck: the processes that were killed.
    was_caught: whether that was surely at the moment that the fault names.
    failure: why the job did not end, or `""`.
    exit_codes: of each process; None where it had to be ended.
    restarts: of each process.
    too_late: the processes that were struck when the job was about to be over, so that
      they were not started again, or found nobody any more.
    seconds: from the start to the last process's end.
    examples_trained_again: see `JobProgress`.
    positions: batches of its data that each worker has trained on; None where its
      progress file does not tell.
  """

  fault: fault_plan.Fault
  folder: str
  struck: list[str] = dataclasses.field(default_factory=list)
  was_caught: bool = False
  failure: str = ""
  exit_codes: dict[str, int | None] = dataclasses.field(default_factory=dict)
  restarts: dict[str, int] = dataclasses.field(default_factory=dict)
  too_late: list[str] = dataclasses.field(default_factory=list)
  seconds: float = 0.0
  examples_trained_again: int = 0
  positions: list[int | None] = dataclasses.field(default_factory=list)

  @property
  def model_dir(self) -> str:
    return os.path.join(self.folder, "model")


class JobRound:
  """Runs a round in a folder of its own, and leaves no process behind.

  Args:
    fault: of the round.
    folder: new; gets the model, all logs and a log of restarts.
    limit_seconds: after that the round is ended.
    check: called often; what it raises ends the round.
  """

  def __init__(
    self,
    fault: fault_plan.Fault,
    folder: str,
    limit_seconds: float,
    check: Callable[[], None] = lambda: None,
  ):
    self._outcome = Outcome(fault, folder)
    self._limit_seconds = limit_seconds
    self._check = check
    self._tasks = local_cluster(asked.SERVERS, asked.WORKERS)
    self._progress_files = [
      self._progress_file(task) for task in self._tasks if task.role == "worker"
    ]
    self._stop = save_phases.Stop(folder)

  def run(self) -> Outcome:
    """Runs it to its end, or until it is given up."""
    logs = os.path.join(self._outcome.folder, "logs")
    for folder in (logs, self._outcome.model_dir):
      os.makedirs(folder)
    begin = time.monotonic()
    ignore = lambda name, line: None  # noqa: E731  # Logs have it.
    with RestartingProcesses(ignore, logs, self._tell, _POLICY) as processes:
      environment = python_environment()
      for task in self._tasks:
        processes.start(
          task.name, self._command(task), {**environment, "TF_CONFIG": task.tf_config}
        )
      try:
        self._watch(processes, begin + self._limit_seconds)
      except ProcessFailed as failure:
        self._outcome.failure = str(failure)
      self._outcome.exit_codes = processes.exit_codes()
      self._outcome.restarts = processes.restarts
      if self._outcome.exit_codes["worker 0"] == 0:
        # The job was over before they could have been started again.
        self._outcome.too_late += [
          name
          for name in self._outcome.struck
          if self._outcome.exit_codes[name] == -signal.SIGKILL
          and not processes.restarts[name]
        ]
    self._outcome.seconds = time.monotonic() - begin
    self._outcome.positions = [_position(path) for path in self._progress_files]
    return self._outcome

  def _watch(self, processes: RestartingProcesses, give_up: float) -> None:
    outcome = self._outcome
    progress_files = ProgressFiles(self._progress_files)
    hit = strike.Strike(outcome.fault, processes, outcome.model_dir, self._stop)
    is_quiet = outcome.fault.when == fault_plan.NOTHING
    leave_at = None
    while processes.running():
      self._check()
      progress = progress_files.read()
      outcome.examples_trained_again = progress.examples_trained_again
      if not is_quiet:
        hit.poll(progress.step)
        outcome.struck, outcome.was_caught = hit.struck, hit.was_caught
      processes.check()
      if processes.exit_codes()["worker 0"] == 0:
        processes.end_restarts()  # The job is over; nobody is needed any more.
        leave_at = leave_at or time.monotonic() + _LEAVE_SECONDS
        if time.monotonic() > leave_at:
          restarts = processes.restarts
          staying = [name for name in processes.running() if restarts[name]]
          if staying:
            outcome.too_late += staying
            processes.stop(staying)
      if time.monotonic() > give_up:
        staying = ", ".join(processes.running())
        outcome.failure = f"not over after {self._limit_seconds:.0f} s: {staying}"
        return
      time.sleep(_POLL_SECONDS)
    outcome.examples_trained_again = progress_files.read().examples_trained_again

  def _tell(self, sentence: str) -> None:
    with open(os.path.join(self._outcome.folder, "restarts.log"), "a") as file:
      file.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")

  def _progress_file(self, task: Task) -> str:
    return os.path.join(self._outcome.folder, f"{task.role}-{task.index}.json")

  def _command(self, task: Task) -> list[str]:
    command = [
      sys.executable,
      "-m",
      _JOB,
      f"--model_dir={self._outcome.model_dir}",
      f"--save_checkpoints_steps={asked.SAVE_STEPS}",
      f"--checkpoints_max_to_keep={asked.CHECKPOINTS_KEPT}",
      f"--checkpoint_increments={asked.INCREMENTS}",
      f"--worker_timeout_secs={_SILENCE_SECONDS}",
      f"--progress_file={self._progress_file(task)}",
    ]
    fault = self._outcome.fault
    if fault.when in save_phases.PHASES:
      command.append(f"--stop_at={fault.when}")
      command.append(f"--stop_time={fault.save}")
      command.append(f"--stop_folder={self._outcome.folder}")
    return command


def _position(path: str) -> int | None:
  try:
    with open(path) as file:
      return json.load(file).get("position")
  except (OSError, ValueError):
    return None
