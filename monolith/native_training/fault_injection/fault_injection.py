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

from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.fault_injection import asked, fault_plan, report
from monolith.native_training.fault_injection.job_round import JobRound
from monolith.native_training.fault_injection.loss_limit import loss_limit
from monolith.native_training.fault_rounds import rounds_program
from monolith.native_training.fault_rounds.rounds_program import RoundFolders
from monolith.native_training.local_runner.stop_signals import StopSignals

flags.adopt_module_key_flags(rounds_program)

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
_SKIP = flags.DEFINE_integer(
  "skip", 0, "Disturbed rounds to leave out, the first ones.", lower_bound=0
)
_SEED = flags.DEFINE_integer("seed", 1, "Decides what is killed, and when.")

flags.register_multi_flags_validator(
  ["rounds", "skip"],
  lambda given: given["skip"] == 0 or given["skip"] < given["rounds"],
  message="--skip leaves nothing of --rounds",
)

# A moment that was missed is waited for in another job, so often.
_ATTEMPTS = 4


class Run:
  """A run of rounds.

  Args:
    folders: of the rounds.
    signals: end it.
  """

  def __init__(self, folders: RoundFolders, signals: StopSignals):
    self._folders = folders
    self._signals = signals
    self._loss_limit: float | None = None
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
    for number, fault in list(enumerate(faults, 1))[_SKIP.value :]:
      self._play(str(number), fault)
    print(report.summary(self.rounds), flush=True)

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

    folder = self._folders.begin(name)
    limit_seconds = rounds_program.LIMIT_SECONDS.value
    outcome = JobRound(fault, folder, limit_seconds, self._signals.check).run()
    played = report.Round(name, outcome, judge(outcome, self._loss_limit))
    if played.is_late and is_last:
      played.verdict.problems.append(f"the moment was missed {_ATTEMPTS} times")
    if not played.is_late:
      self.rounds.append(played)
    self._folders.end(report.row(played), played.is_lost)
    if path := rounds_program.JSON.value:  # After every round: a run may take an hour.
      report.write_json(path, _SEED.value, self._loss_limit, self.rounds)
    return played


def _play(folders: RoundFolders, signals: StopSignals) -> bool:
  run = Run(folders, signals)
  run.run()
  return any(played.is_lost for played in run.rounds)


def main(argv: Sequence[str]) -> int:
  """Runs it; returns the exit code."""
  return rounds_program.run(argv, "fault-injection", _play)


if __name__ == "__main__":
  app.run(main)
