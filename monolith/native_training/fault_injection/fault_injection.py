"""Kills processes of training jobs, and looks whether anything was lost.

    bazel run //monolith/native_training/fault_injection -- --rounds=50 --seed=1

Each round is a job of a chief, a worker and two servers on this machine, which takes
about 15 seconds. With SIGKILL, at a moment that the seed decides, it loses a worker, a
server, the chief or all of them: anywhere, or in a certain phase of a save. What was
killed is started again. In the end every process must have left well, as many examples
must count as trained as there are, the last checkpoint must be the final one, whole and
as good on held-out data as an undisturbed job's, and nothing unfinished may lie about.

What a line of the table tells beside that: `again`, examples that were trained once
more, because the model had gone back to a checkpoint (the least that it can be); and
`missing` and `twice`, batches that the tables have not seen, or in excess, as their
rows tell exactly.

The exit code is 0 where nothing was lost, 1 where something was, and 128 + the
signal's number where a signal ended it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from absl import app, flags, logging

from monolith.native_training.fault_injection import asked, fault_plan, report
from monolith.native_training.fault_injection.job_round import JobRound
from monolith.native_training.fault_injection.loss_limit import loss_limit
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

_ROUNDS = flags.DEFINE_integer(
  "rounds",
  fault_plan.HANDFUL,
  f"Disturbed rounds. {fault_plan.HANDFUL} have every phase and every victim once, "
  f"{len(fault_plan.KINDS)} each with each.",
  lower_bound=0,
)
_UNDISTURBED = flags.DEFINE_integer(
  "undisturbed", 3, "Undisturbed rounds before, for the loss to compare.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 1, "Decides what is killed, and when.")
_LIMIT_SECONDS = flags.DEFINE_float(
  "limit_seconds", 180, "A round that takes longer is ended, and lost.", lower_bound=1
)
_JSON = flags.DEFINE_string("json", "", "Also write the table to this file, as JSON.")
_KEEP = flags.DEFINE_string(
  "keep", "", "Folder for models and logs of lost rounds. Empty: a temporary one."
)

# A moment that was missed is waited for in another job, so often.
_ATTEMPTS = 4


class Run:
  """A run of rounds.

  Args:
    folder: for the rounds' folders; those of rounds that lost nothing are removed.
    signals: end it.
  """

  def __init__(self, folder: str, signals: StopSignals):
    self._folder = folder
    self._signals = signals
    self._loss_limit: float | None = None
    self._unfinished = ""
    self.rounds: list[report.Round] = []

  def run(self) -> None:
    """Plays all rounds, telling of each."""
    print(report.heading(), flush=True)
    for number in range(1, _UNDISTURBED.value + 1):
      self._play(f"u{number}", fault_plan.Fault())
    losses = [r.verdict.loss for r in self.rounds if not r.is_lost]
    if not losses:
      print("the undisturbed job does not work; nothing to compare others with")
      return
    self._loss_limit = loss_limit(losses)
    faults = fault_plan.faults(_ROUNDS.value, _SEED.value, asked.SERVERS)
    for number, fault in enumerate(faults, 1):
      self._play(str(number), fault)
    print(report.summary(self.rounds), flush=True)

  def remove_unfinished(self) -> None:
    """Removes the folder of a round that was broken off."""
    if self._unfinished:
      shutil.rmtree(self._unfinished, ignore_errors=True)

  def _play(self, name: str, fault: fault_plan.Fault) -> None:
    """Plays a round; again where it came too late for its moment."""
    for attempt in range(1, _ATTEMPTS + 1):
      played = self._play_once(name, fault, is_last=attempt == _ATTEMPTS)
      if not played.is_late:
        return

  def _play_once(
    self, name: str, fault: fault_plan.Fault, is_last: bool
  ) -> report.Round:
    # Here, because TensorFlow takes long to import, which --help need not.
    from monolith.native_training.fault_injection.verdict import judge

    folder = os.path.join(self._folder, f"round-{name}")
    self._unfinished = folder
    limit_seconds = _LIMIT_SECONDS.value
    outcome = JobRound(fault, folder, limit_seconds, self._signals.check).run()
    self._unfinished = ""
    played = report.Round(name, outcome, judge(outcome, self._loss_limit))
    if played.is_late and is_last:
      played.verdict.problems.append(f"the moment was missed {_ATTEMPTS} times")
    if not played.is_late:
      self.rounds.append(played)
    print(report.row(played), flush=True)
    if played.is_lost:
      print(f"      kept in {folder}", flush=True)
    else:
      shutil.rmtree(folder)
    if _JSON.value:  # After every round: a run may take an hour.
      report.write_json(_JSON.value, _SEED.value, self._loss_limit, self.rounds)
    return played


def main(argv: Sequence[str]) -> int:
  """Runs it; returns the exit code."""
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  logging.set_verbosity(logging.ERROR)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # Relative paths are relative to where `bazel run` was called.
  os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
  if _KEEP.value:
    os.makedirs(_KEEP.value, exist_ok=True)
  folder = tempfile.mkdtemp(prefix="fault-injection-", dir=_KEEP.value or None)
  try:
    with StopSignals() as signals:
      run = Run(folder, signals)
      run.run()
  except Stopped as stop:
    print(stop, file=sys.stderr)
    run.remove_unfinished()
    return 128 + stop.signum
  finally:
    with contextlib.suppress(OSError):  # Not empty: lost rounds are kept.
      os.rmdir(folder)
  return 1 if any(played.is_lost for played in run.rounds) else 0


if __name__ == "__main__":
  app.run(main)
