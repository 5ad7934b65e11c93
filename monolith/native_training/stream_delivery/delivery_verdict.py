"""Whether messages were lost in a round, or trained on again too often."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from monolith.native_training.stream_delivery import asked
from monolith.native_training.stream_delivery.kill_round import Outcome


@dataclasses.dataclass
class Verdict:
  """What is left of a round.

  Attributes:
    problems: what is not as it should be, in words; empty where all is well.
    missing: messages that the model was not trained on.
    repeats: trainings on messages that the model has in excess.
    trained_again: examples that were trained on in excess altogether, also those of
      which the model went back to a checkpoint; the least that it can be.
    bound: how many either may be.
  """

  problems: list[str] = dataclasses.field(default_factory=list)
  missing: int | None = None
  repeats: int | None = None
  trained_again: int = 0
  bound: int = 0


def judge(
  outcome: Outcome, counts: Mapping[int, int] | None, is_final: bool
) -> Verdict:
  """Judges a round.

  Args:
    outcome: its job has ended.
    counts: how often the model of its last checkpoint was trained on each message; None
      where there is no checkpoint.
    is_final: whether that checkpoint says that it is the end.
  """
  bound = asked.most_repeats(outcome.slowest_save_secs, outcome.uncovered)
  verdict = Verdict(bound=bound)
  problems = verdict.problems
  if outcome.failure:
    problems.append(outcome.failure)
  if not outcome.struck:
    problems.append("nothing was killed")
  bad = {name: code for name, code in outcome.exit_codes.items() if code != 0}
  if bad and not outcome.failure:
    problems.append("exit codes " + ", ".join(f"{n}: {c}" for n, c in bad.items()))
  if outcome.tracebacks:
    problems.append("tracebacks in " + ", ".join(outcome.tracebacks))
  sent = outcome.acknowledged
  if sent != asked.MESSAGES or sum(outcome.ends) != sent:
    problems.append(
      f"{sent:,} messages sent, {sum(outcome.ends):,} in the topic, "
      f"{asked.MESSAGES:,} wanted"
    )
  if outcome.committed != outcome.ends:
    problems.append(f"committed {outcome.committed} in place of {outcome.ends}")
  if counts is None:
    problems.append("no checkpoint")
    return verdict
  if not is_final:
    problems.append("the last checkpoint is not final")
  _judge_counts(outcome, counts, verdict)
  return verdict


def _judge_counts(
  outcome: Outcome, counts: Mapping[int, int], verdict: Verdict
) -> None:
  missing = [n for n in range(asked.MESSAGES) if counts.get(n, 0) < 1]
  verdict.missing = len(missing)
  verdict.repeats = sum(max(count - 1, 0) for count in counts.values())
  verdict.trained_again = max(outcome.trained - asked.MESSAGES, verdict.repeats)
  if missing:
    verdict.problems.append(
      f"{len(missing):,} messages were skipped, from {missing[0]} to {missing[-1]}"
    )
  strange = counts.keys() - range(asked.MESSAGES)
  if strange:
    verdict.problems.append(f"trained on what was never sent: {sorted(strange)[:5]}")
  if verdict.trained_again > verdict.bound:
    verdict.problems.append(
      f"{verdict.trained_again:,} examples trained on again, more than "
      f"{verdict.bound:,}"
    )
