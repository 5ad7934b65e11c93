"""The table of rounds, for people, and the same as JSON, for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from monolith.native_training.fault_rounds import round_table
from monolith.native_training.stream_delivery.delivery_verdict import Verdict
from monolith.native_training.stream_delivery.kill_round import Outcome

_TABLE = round_table.RoundTable(
  (
    ("round", 5),
    ("killed", -8),
    ("at s", 5),
    ("restarts", 8),
    ("sent", 6),
    ("missing", 7),
    ("repeats", 7),
    ("again", 6),
    ("bound", 6),
    ("committed", 9),
    ("seconds", 7),
    ("verdict", -7),
  )
)


@dataclasses.dataclass
class Round:
  """A round that is over."""

  number: int
  outcome: Outcome
  verdict: Verdict

  @property
  def is_lost(self) -> bool:
    return bool(self.verdict.problems)

  def as_dict(self) -> dict:
    """The form in which programs read it."""
    return {
      "round": self.number,
      **dataclasses.asdict(self.outcome),
      **dataclasses.asdict(self.verdict),
      "is_lost": self.is_lost,
    }


def heading() -> str:
  """The table's first two lines."""
  return _TABLE.heading()


def row(round_: Round) -> str:
  """A round's line, and below it what was lost."""
  outcome, verdict = round_.outcome, round_.verdict
  return _TABLE.row(
    [
      round_.number,
      outcome.struck or None,
      f"{outcome.kill.after_secs:.1f}",
      outcome.restarts,
      outcome.acknowledged,
      verdict.missing,
      verdict.repeats,
      verdict.trained_again,
      verdict.bound,
      sum(outcome.committed),
      f"{outcome.seconds:.1f}",
      "LOST" if round_.is_lost else "ok",
    ],
    verdict.problems,
  )


def summary(rounds: Sequence[Round]) -> str:
  """The table's last line."""
  lost = [round_.number for round_ in rounds if round_.is_lost]
  sent = sum(round_.outcome.acknowledged for round_ in rounds)
  missing = sum(round_.verdict.missing or 0 for round_ in rounds)
  text = f"{len(rounds)} rounds, {sent:,} messages, {missing:,} of them skipped: "
  return text + round_table.lost(lost)


def write_json(path: str, seed: int, rounds: Sequence[Round]) -> None:
  """Writes everything known of the rounds, as a whole or not at all."""
  content = {
    "seed": seed,
    "rounds_lost": sum(round_.is_lost for round_ in rounds),
    "rounds": [round_.as_dict() for round_ in rounds],
  }
  round_table.write_json(path, content)
