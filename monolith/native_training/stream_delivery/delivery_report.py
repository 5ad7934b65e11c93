"""The table of rounds, for people, and the same as JSON, for programs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

from monolith.native_training.stream_delivery.delivery_verdict import Verdict
from monolith.native_training.stream_delivery.kill_round import Outcome

_COLUMNS = (
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
  rule = ["-" * abs(width) for _, width in _COLUMNS]
  return f"{_line([name for name, _ in _COLUMNS])}\n{_line(rule)}"


def row(round_: Round) -> str:
  """A round's line, and below it what was lost."""
  outcome, verdict = round_.outcome, round_.verdict
  line = _line(
    [
      round_.number,
      outcome.struck or "-",
      f"{outcome.kill.after_secs:.1f}",
      outcome.restarts,
      outcome.acknowledged,
      "-" if verdict.missing is None else verdict.missing,
      "-" if verdict.repeats is None else verdict.repeats,
      verdict.trained_again,
      verdict.bound,
      sum(outcome.committed),
      f"{outcome.seconds:.1f}",
      "LOST" if round_.is_lost else "ok",
    ]
  )
  return "\n".join([line, *(f"      {problem}" for problem in verdict.problems)])


def summary(rounds: Sequence[Round]) -> str:
  """The table's last line."""
  lost = [str(round_.number) for round_ in rounds if round_.is_lost]
  sent = sum(round_.outcome.acknowledged for round_ in rounds)
  missing = sum(round_.verdict.missing or 0 for round_ in rounds)
  text = f"{len(rounds)} rounds, {sent:,} messages, {missing:,} of them skipped: "
  return text + (f"{len(lost)} lost ({', '.join(lost)})" if lost else "none lost")


def write_json(path: str, seed: int, rounds: Sequence[Round]) -> None:
  """Writes everything known of the rounds, as a whole or not at all."""
  content = {
    "seed": seed,
    "rounds_lost": sum(round_.is_lost for round_ in rounds),
    "rounds": [round_.as_dict() for round_ in rounds],
  }
  with open(f"{path}.tmp", "w") as file:
    json.dump(content, file, indent=2)
    file.write("\n")
  os.replace(f"{path}.tmp", path)


def _line(cells: Sequence[object]) -> str:
  fitted = [
    f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
    for cell, (_, width) in zip(map(str, cells), _COLUMNS, strict=True)
  ]
  return f"| {' | '.join(fitted)} |"
