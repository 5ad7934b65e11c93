"""The table of rounds, for people, and the same as JSON, for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from monolith.native_training.fault_injection import asked, fault_plan
from monolith.native_training.fault_injection.job_round import Outcome
from monolith.native_training.fault_rounds import round_table

if TYPE_CHECKING:  # It imports TensorFlow.
  from monolith.native_training.fault_injection.verdict import Verdict

_TABLE = round_table.RoundTable(
  (
    ("round", 5),
    ("fault", -24),
    ("victim", -7),
    ("restarts", 8),
    ("asked", 7),
    ("trained", 7),
    ("again", 6),
    ("missing", 7),
    ("twice", 5),
    ("loss", 7),
    ("seconds", 7),
    ("verdict", -7),
  )
)


@dataclasses.dataclass
class Round:
  """A round that is over; `name` is its number, or `u1`, ... for undisturbed ones."""

  name: str
  outcome: Outcome
  verdict: Verdict

  @property
  def is_lost(self) -> bool:
    return bool(self.verdict.problems)

  @property
  def is_late(self) -> bool:
    """Nothing was lost, but it struck when its moment was over, if at all: it shows
    nothing."""
    return _has_missed(self.outcome) and not self.is_lost

  def as_dict(self) -> dict:
    """The form in which programs read it."""
    return {
      "round": self.name,
      **dataclasses.asdict(self.outcome),
      **dataclasses.asdict(self.verdict),
      "examples_asked": asked.EXAMPLES,
      "is_lost": self.is_lost,
    }


def _has_missed(outcome: Outcome) -> bool:
  """Whether there was a fault, and its moment was not met."""
  is_met = outcome.struck and outcome.was_caught
  return outcome.fault.when != fault_plan.NOTHING and not is_met


def heading() -> str:
  """The table's first two lines."""
  return _TABLE.heading()


def row(round_: Round) -> str:
  """A round's line, and below it what was lost."""
  outcome, verdict = round_.outcome, round_.verdict
  fault = outcome.fault.when
  if _has_missed(outcome):
    fault += " (late)"
  return _TABLE.row(
    [
      round_.name,
      fault,
      outcome.fault.victim,
      sum(outcome.restarts.values()),
      asked.EXAMPLES,
      verdict.examples,
      outcome.examples_trained_again,
      verdict.batches_lost,
      verdict.batches_twice,
      None if verdict.loss is None else f"{verdict.loss:.4f}",
      f"{outcome.seconds:.1f}",
      "LOST" if round_.is_lost else "again" if round_.is_late else "ok",
    ],
    verdict.problems,
  )


def summary(rounds: Sequence[Round]) -> str:
  """The table's last line."""
  lost = [round_.name for round_ in rounds if round_.is_lost]
  killed = sum(len(round_.outcome.struck) for round_ in rounds)
  restarts = sum(sum(round_.outcome.restarts.values()) for round_ in rounds)
  text = f"{len(rounds)} rounds, {killed} processes killed, {restarts} restarts: "
  return text + round_table.lost(lost)


def write_json(
  path: str, seed: int, loss_limit: float | None, rounds: Sequence[Round]
) -> None:
  """Writes everything known of the rounds, as a whole or not at all."""
  content = {
    "seed": seed,
    "loss_limit": loss_limit,
    "rounds_lost": sum(round_.is_lost for round_ in rounds),
    "rounds": [round_.as_dict() for round_ in rounds],
  }
  round_table.write_json(path, content)
