"""Whether anything was lost in a round."""

from __future__ import annotations

import dataclasses
import os
import re

from monolith.native_training.checkpoint_tool.verification import Verifier
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.fault_injection import asked, save_phases, strike
from monolith.native_training.fault_injection.counted_model import (
  DENSE_TIMES,
  SUM,
  TIMES,
  CountedModel,
)
from monolith.native_training.fault_injection.job_round import Outcome
from monolith.native_training.training.checkpoints import checkpoint, retention

# Of disturbed rounds. A restored checkpoint's positions are from before its rows: of
# steps that end while it is written the rows may have the updates, and they are done
# again. A write takes up to a tenth of a second of this job's 200 steps a second; with
# a load of 15 on 2 processors there were 28 of 1200.
_TWICE_ALLOWED = 1 / 20  # Of all steps.
_OF_A_CHECKPOINT = re.compile(r"(model\.ckpt-\d+(?:\.\d+)?)\.(?:tables|index|data-)")
_UNFINISHED = (strike.UNFINISHED, ".tmp", ".tempstate", "_temp")


@dataclasses.dataclass
class Verdict:
  """What is left of a round.

  Attributes:
    problems: what is not as it should be, in words; empty where nothing was lost.
    examples: trained on, each counted once, as the final positions say, or where there
      are none the global step.
    step: the global step of the last checkpoint.
    loss: of the last checkpoint, on held-out data.
    batches_lost: trainings of a batch that the tables have not seen, or the dense
      variables, whichever miss more.
    batches_twice: trainings that they have seen in excess.
  """

  problems: list[str] = dataclasses.field(default_factory=list)
  examples: int | None = None
  step: int | None = None
  loss: float | None = None
  batches_lost: int | None = None
  batches_twice: int | None = None


def judge(outcome: Outcome, loss_limit: float | None) -> Verdict:
  """Judges a round.

  Args:
    outcome: its job has ended.
    loss_limit: the held-out loss that it may have; None where there is no bound yet.
  """
  verdict = Verdict()
  problems = verdict.problems
  if outcome.failure:
    problems.append(outcome.failure)
  # A chief does stop at a phase; other moments pass while nobody looks.
  if outcome.fault.when in save_phases.PHASES and not outcome.struck:
    problems.append("the fault's moment never came")
  bad = {
    name: code
    for name, code in outcome.exit_codes.items()
    if code != 0 and name not in outcome.too_late
  }
  if bad and not outcome.failure:
    problems.append("exit codes " + ", ".join(f"{n}: {c}" for n, c in bad.items()))
  problems += leftovers(outcome.model_dir)
  problems += damages(outcome.model_dir)
  _judge_checkpoint(outcome, verdict)
  _judge_examples(outcome, verdict)
  if verdict.loss is not None and loss_limit is not None:
    # Not `>`: a loss may be NaN.
    if not verdict.loss <= loss_limit:
      problems.append(f"held-out loss {verdict.loss:.4f} is above {loss_limit:.4f}")
  return verdict


def leftovers(model_dir: str) -> list[str]:
  """What lies in a job's folder and should not, in words."""
  whole = {os.path.basename(path) for path in checkpoint.checkpoints(model_dir)}
  found = []
  for folder, folders, files in os.walk(model_dir):
    for name in sorted(folders + files):
      of = _OF_A_CHECKPOINT.match(name)
      is_strange = name.startswith("model.ckpt-") and not (of and of[1] in whole)
      if is_strange or any(mark in name for mark in _UNFINISHED):
        found.append(os.path.relpath(os.path.join(folder, name), model_dir))
  problems = [f"left behind: {', '.join(found)}"] if found else []
  paths = checkpoint.checkpoints(model_dir)
  needed = retention.needed(paths, asked.CHECKPOINTS_KEPT)
  needed = set(map(os.path.basename, needed))
  if whole - needed:
    problems.append(f"not needed any more: {', '.join(sorted(whole - needed))}")
  return problems


def damages(model_dir: str) -> list[str]:
  """What is damaged in a job's checkpoints, in words."""
  verifier = Verifier()
  paths = checkpoint.checkpoints(model_dir)
  results = [verifier.verify(path) for path in paths]
  return [str(p) for result in results for p in (*result.problems, *result.unread)]


def _judge_checkpoint(outcome: Outcome, verdict: Verdict) -> None:
  path = checkpoint.latest_checkpoint(outcome.model_dir)
  if path is None:
    verdict.problems.append("no checkpoint")
    return
  verdict.step = checkpoint.step_of(path)
  try:
    if not checkpoint.is_final(path):
      verdict.problems.append(f"{os.path.basename(path)} is not final")
    config = RunnerConfig(model_dir=outcome.model_dir)
    metrics = Estimator(CountedModel.params().instantiate(), config).evaluate()
  except Exception as error:  # Whatever it is, this checkpoint is not sound.
    verdict.problems.append(f"{os.path.basename(path)} is not sound: {error}")
    return
  if metrics["global_step"] != verdict.step:  # Another was used in its place.
    verdict.problems.append(
      f"{os.path.basename(path)} is not sound: step {metrics['global_step']} was "
      "evaluated in its place"
    )
    return
  verdict.loss = metrics[f"{SUM}/rmse"] ** 2
  verdict.batches_lost = verdict.batches_twice = 0
  twice_allowed = _TWICE_ALLOWED * asked.STEPS if outcome.struck else 0
  for what, head in (("tables", TIMES), ("dense variables", DENSE_TIMES)):
    lost, twice = _lost_and_twice(metrics, head)
    verdict.batches_lost = max(verdict.batches_lost, lost)
    verdict.batches_twice = max(verdict.batches_twice, twice)
    if lost or twice > twice_allowed:
      verdict.problems.append(f"the {what} miss {lost} batches and have {twice} twice")


def _lost_and_twice(metrics: dict[str, float], head: str) -> tuple[int, int]:
  """How many trainings of a batch are missing, and how many there are in excess."""
  numbers = asked.WORKERS * asked.BATCHES
  off = round(metrics[f"{head}/mae"] * numbers)
  too_many = round((metrics[f"{head}/pred_mean"] - asked.PASSES) * numbers)
  return (off - too_many) // 2, (off + too_many) // 2


def _judge_examples(outcome: Outcome, verdict: Verdict) -> None:
  if None not in outcome.positions:
    verdict.examples = sum(outcome.positions) * asked.BATCH_SIZE
    steps_off_allowed = sum(outcome.restarts.values())  # Each in the middle of a step.
  elif verdict.step is not None:
    verdict.examples = verdict.step * asked.BATCH_SIZE
    steps_off_allowed = 0
  else:
    return
  if verdict.examples != asked.EXAMPLES:
    verdict.problems.append(f"{verdict.examples:,} examples trained")
  elif verdict.step and abs(verdict.step - asked.STEPS) > steps_off_allowed:
    verdict.problems.append(f"global step {verdict.step} in place of {asked.STEPS}")
