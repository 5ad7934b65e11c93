"""How much worse than an undisturbed job's model one may be."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

# `--rounds=0 --undisturbed=12` on 2 cores had losses of 0.0023 to 0.0033: this is their
# mean, and their deviation as a share of it. On a machine so busy that one worker is
# done before the other begins the loss is 0.0006, because no gradient is stale then. A
# disturbed round may be of either kind: where there are few rounds these stand in.
_USUAL_LOSS = 0.0028
_USUAL_DEVIATION = 0.11
_ENOUGH_ROUNDS = 8
# Of rounds that had every batch exactly as often as they should, one had 0.0048: a
# worker that has come back trains alone at the end, and the order of steps counts. So
# this finds coarse losses only: a job of one process had 0.0032 with 100 of its 600
# steps missing, 0.026 with 300 and 0.19 with 350. What the rows tell is exact.
_DEVIATIONS = 12.0


def loss_limit(losses: Sequence[float]) -> float:
  """The most that a disturbed round's held-out loss may be.

  Args:
    losses: of undisturbed rounds, one or more.
  """
  mean = statistics.fmean(losses)
  if len(losses) >= _ENOUGH_ROUNDS:
    return mean + _DEVIATIONS * statistics.stdev(losses)
  return max(mean, _USUAL_LOSS) * (1 + _DEVIATIONS * _USUAL_DEVIATION)
