"""Takes the systems under test in turns, with a canary around each leg."""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence

from monolith.native_training.benchmarks.canary import Canary


@dataclasses.dataclass(frozen=True)
class Leg:
  """What one system did in one turn, and how long the canary sang before and after."""

  figures: dict[str, float]
  canary_seconds: tuple[float, float]


def take_turns(
  canary: Canary,
  systems: dict[str, Callable[[], dict[str, float]]],
  repetitions: int,
  check: Callable[[], None],
) -> dict[str, list[Leg]]:
  """Runs every system's leg, then every system's again, and so on.

  Args:
    canary: sings before and after each leg.
    systems: a name -> a leg, which returns its figures.
    repetitions: how often.
    check: called before each leg; what it raises ends it all.

  Returns:
    A name -> its legs.
  """
  legs: dict[str, list[Leg]] = {system: [] for system in systems}
  before = canary.sing()
  for i in range(repetitions):
    for system, run in systems.items():
      check()
      figures = run()
      after = canary.sing()
      legs[system].append(Leg(figures, (before, after)))
      shown = ", ".join(f"{value:,.1f} {name}" for name, value in figures.items())
      songs = f"canary {before:.2f} {after:.2f} s"
      print(
        f"  {i + 1}/{repetitions} {system:22} {shown}; {songs}",
        file=sys.stderr,
        flush=True,
      )
      before = after
  return legs


def summary(canary: Canary, legs: Sequence[Leg]) -> dict:
  """The legs of one system in figures.

  Args:
    canary: to judge what was disturbed; best asked when it has sung its last song.
    legs: at least one.

  Returns:
    How many legs there were (`turns`) and how many of them were `undisturbed`; of each
    figure the `median`, `min` and `max` of the undisturbed ones, or of all if there is
    none; and `all` legs.
  """
  kept = [leg for leg in legs if not canary.is_disturbed(*leg.canary_seconds)]
  result: dict = {"turns": len(legs), "undisturbed": len(kept)}
  for name in legs[0].figures:
    # A figure of a disturbed machine is better than none, if it is called that.
    values = [leg.figures[name] for leg in kept or legs]
    result[name] = {
      "median": statistics.median(values),
      "min": min(values),
      "max": max(values),
    }
  result["all"] = [
    {**leg.figures, "canary_seconds": leg.canary_seconds} for leg in legs
  ]
  return result
