"""One round: a job of real processes, what is killed in it, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable

from monolith.native_training.fault_injection import (
  asked,
  fault_plan,
  save_phases,
  strike,
)
from monolith.native_training.fault_rounds.round_job import CHIEF, RoundJob
from monolith.native_training.local_runner.restarts import RestartingProcesses
from monolith.native_training.local_runner.training_progress import ProgressFiles

_JOB = "monolith.native_training.fault_injection.job"
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
    self._job = RoundJob(
      _JOB, folder, asked.SERVERS, asked.WORKERS, limit_seconds, check
    )
    self._progress = ProgressFiles(self._job.progress_files)
    self._stop = save_phases.Stop(folder)
    self._strike: strike.Strike | None = None
    self._leave_at: float | None = None

  def run(self) -> Outcome:
    """Runs it to its end, or until it is given up."""
    outcome = self._outcome
    end = self._job.run(self._flags(), self._watch)
    outcome.failure = end.failure
    outcome.exit_codes, outcome.restarts = end.exit_codes, end.restarts
    outcome.seconds = end.seconds
    if end.exit_codes[CHIEF] == 0:
      # The job was over before they could have been started again.
      outcome.too_late += [
        name
        for name in outcome.struck
        if end.exit_codes[name] == -signal.SIGKILL and not end.restarts[name]
      ]
    outcome.examples_trained_again = self._progress.read().examples_trained_again
    outcome.positions = [_position(path) for path in self._job.progress_files]
    return outcome

  def _watch(self, processes: RestartingProcesses) -> None:
    outcome = self._outcome
    progress = self._progress.read()
    if outcome.fault.when != fault_plan.NOTHING:
      self._strike = self._strike or strike.Strike(
        outcome.fault, processes, outcome.model_dir, self._stop
      )
      self._strike.poll(progress.step)
      outcome.struck = self._strike.struck
      outcome.was_caught = self._strike.was_caught
    if processes.exit_codes()[CHIEF] == 0:
      self._end_late_ones(processes)

  def _end_late_ones(self, processes: RestartingProcesses) -> None:
    """Ends who was started again and has no job to join, after a while."""
    self._leave_at = self._leave_at or time.monotonic() + _LEAVE_SECONDS
    if time.monotonic() <= self._leave_at:
      return
    restarts = processes.restarts
    staying = [name for name in processes.running() if restarts[name]]
    if staying:
      self._outcome.too_late += staying
      processes.stop(staying)

  def _flags(self) -> list[str]:
    flags = [
      f"--save_checkpoints_steps={asked.SAVE_STEPS}",
      f"--checkpoints_max_to_keep={asked.CHECKPOINTS_KEPT}",
      f"--checkpoint_increments={asked.INCREMENTS}",
    ]
    fault = self._outcome.fault
    if fault.when in save_phases.PHASES:
      flags.append(f"--stop_at={fault.when}")
      flags.append(f"--stop_time={fault.save}")
      flags.append(f"--stop_folder={self._outcome.folder}")
    return flags


def _position(path: str) -> int | None:
  try:
    with open(path) as file:
      return json.load(file).get("position")
  except (OSError, ValueError):
    return None
