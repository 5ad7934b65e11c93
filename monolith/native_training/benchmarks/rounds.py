"""Legs of a benchmark that take turns, and how they compare with one of them.

A ratio is that of two legs of the same round, so that what slows the machine down for
longer than a round slows both.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence

from monolith.native_training.benchmarks.canary import Canary


@dataclasses.dataclass(frozen=True)
class Speed:
  """Of one leg.

  Attributes:
    per_second: messages or examples a second.
    cpu_microseconds: CPU time of one of them, in all processes that were measured.
  """

  per_second: float
  cpu_microseconds: float


@dataclasses.dataclass(frozen=True)
class Round:
  """One turn of each leg: `speeds` by name, and the seconds of the canary's songs
  before, between and behind them."""

  speeds: dict[str, Speed]
  songs: tuple[float, ...]


def take_turns(
  legs: Mapping[str, Callable[[], Speed]], repetitions: int, canary: Canary
) -> list[Round]:
  """Runs all legs one after the other, so many times; figures go to stderr."""
  rounds = []
  for i in range(repetitions):
    speeds, songs = {}, [canary.sing()]
    for name, leg in legs.items():
      speeds[name] = leg()
      songs.append(canary.sing())
      print(
        f"  {i + 1}/{repetitions} {name:24}{speeds[name].per_second:12,.0f}/s"
        f"{speeds[name].cpu_microseconds:9.2f} us CPU"
        f"   canary {songs[-2]:.2f} {songs[-1]:.2f} s",
        file=sys.stderr,
        flush=True,
      )
    rounds.append(Round(speeds, tuple(songs)))
  return rounds


def compare(rounds: Sequence[Round], peer: str, longest_song: float) -> dict:
  """Medians and ranges of the rounds without longer songs; of all, if none is.

  Returns:
    `rounds` and `undisturbed`, how many; `legs`: by name `per_second`,
    `cpu_microseconds`, `ratio` (speed by the peer's of the same round) and `cpu_ratio`
    (the peer's CPU time by the leg's: the ratio of speeds if nobody had to wait for a
    core), each with `median`, `min` and `max`.
  """
  quiet = [r for r in rounds if max(r.songs) <= longest_song]
  legs = {}
  for name in rounds[0].speeds:
    pairs = [(r.speeds[name], r.speeds[peer]) for r in quiet or rounds]
    legs[name] = {
      "per_second": _extent([own.per_second for own, _ in pairs]),
      "cpu_microseconds": _extent([own.cpu_microseconds for own, _ in pairs]),
      "ratio": _extent([own.per_second / other.per_second for own, other in pairs]),
      "cpu_ratio": _extent(
        [other.cpu_microseconds / own.cpu_microseconds for own, other in pairs]
      ),
    }
  return {"rounds": len(rounds), "undisturbed": len(quiet), "legs": legs}


def as_text(title: str, comparison: dict, peer: str) -> str:
  """What `compare` found, for people."""
  lines = [
    title,
    f"  {'':18}{'a second':>12}{'from - to':>25}{'/ ' + peer:>16}{'from - to':>14}"
    f"{'CPU us':>9}{'peer / own':>12}",
  ]
  for name, leg in comparison["legs"].items():
    speed, ratio = leg["per_second"], leg["ratio"]
    extent = f"{speed['min']:,.0f} - {speed['max']:,.0f}"
    lines.append(
      f"  {name:18}{speed['median']:12,.0f}{extent:>25}{ratio['median']:16.2f}"
      f"{ratio['min']:8.2f} -{ratio['max']:5.2f}"
      f"{leg['cpu_microseconds']['median']:9.2f}{leg['cpu_ratio']['median']:12.2f}"
    )
  lines.append(
    f"  {comparison['undisturbed']} of {comparison['rounds']} rounds undisturbed"
  )
  if not comparison["undisturbed"]:
    lines.append("  DISTURBED: these are figures of all rounds, and of a busy machine")
  return "\n".join(lines)


def _extent(values: Sequence[float]) -> dict[str, float]:
  return {
    "median": statistics.median(values),
    "min": min(values),
    "max": max(values),
  }
