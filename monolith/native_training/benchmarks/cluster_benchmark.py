"""Steps and examples per second, beside plain TensorFlow, as real processes.

Trains the movie-ranking model on this machine in turns: ours, plain TensorFlow, ours,
plain TensorFlow and so on, with servers and workers and in one process. Measured is the
time in which all workers train, after a warm-up. A fixed piece of CPU work before and
after each turn shows whether somebody else used the machine; such turns are left out.
Prints medians, ranges and the ratio; --json=FILE writes them with all single figures.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.benchmarks.canary import Canary
from monolith.native_training.benchmarks.leg import LegTooSlow, run_leg
from monolith.native_training.benchmarks.throughput import NotSteady, Throughput
from monolith.native_training.local_runner.local_processes import ProcessFailed
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

_SYSTEMS = {"monolith": "monolith_training", "plain TensorFlow": "plain_tensorflow"}
_ENDLESS = 1_000_000_000

_NUM_PS = flags.DEFINE_integer("num_ps", 2, "Parameter servers.", lower_bound=1)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "Workers.", lower_bound=1)
_LAYOUT = flags.DEFINE_enum(
  "layout",
  "both",
  ["both", "cluster", "one_process"],
  "Measure with servers and workers, in one process, or both.",
)
_REPETITIONS = flags.DEFINE_integer(
  "repetitions", 5, "Turns of each, undisturbed or not.", lower_bound=1
)
_SECONDS = flags.DEFINE_float("seconds", 15.0, "What is measured of a turn.")
_WARMUP_SECONDS = flags.DEFINE_float("warmup_seconds", 3.0, "What is not, before that.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 512, "Examples a step of one worker.")
_DATASET = flags.DEFINE_enum(
  "dataset", "100k", ["100k", "1m", "25m", "synthetic"], "Ratings, repeated as needed."
)
_NUM_RATINGS = flags.DEFINE_integer(
  "num_ratings", 10_000_000, "How many ratings 'synthetic' has."
)
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")


@dataclasses.dataclass(frozen=True)
class _Turn:
  throughput: Throughput
  canary_seconds: tuple[float, float]


def main(argv: Sequence[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  layouts = {
    f"{_NUM_PS.value} servers, {_NUM_WORKERS.value} workers": (
      _NUM_PS.value,
      _NUM_WORKERS.value,
    ),
    "one process": (0, 1),
  }
  names = list(layouts)
  if _LAYOUT.value != "both":
    names = [names[_LAYOUT.value == "one_process"]]
  canary = Canary()
  canary.sing()
  results = {}
  try:
    with (
      StopSignals() as signals,
      tempfile.TemporaryDirectory(prefix="monolith-benchmark-") as folder,
    ):
      ratings_dir = os.path.join(folder, "ratings")
      for name in names:
        turns = _take_turns(canary, signals, *layouts[name], ratings_dir)
        results[name] = {s: _summary(canary, t) for s, t in turns.items()}
        print(_as_text(name, results[name]), flush=True)
  except ProcessFailed as failure:
    print("\n".join(failure.last_lines), failure, sep="\n", file=sys.stderr)
    return 1
  except (LegTooSlow, NotSteady) as error:
    print(error, file=sys.stderr)
    return 1
  except Stopped as stop:
    return 128 + stop.signum
  if _JSON.value:
    with open(_JSON.value, "w") as file:
      json.dump({"batch_size": _BATCH_SIZE.value, "layouts": results}, file, indent=2)
  return 0


def _take_turns(
  canary: Canary,
  signals: StopSignals,
  num_ps: int,
  num_workers: int,
  ratings_dir: str,
) -> dict[str, list[_Turn]]:
  turns = {system: [] for system in _SYSTEMS}
  arguments = [
    f"--dataset={_DATASET.value}",
    f"--num_ratings={_NUM_RATINGS.value}",
    f"--ratings_dir={ratings_dir}",
    f"--epochs={_ENDLESS}",
    f"--batch_size={_BATCH_SIZE.value}",
  ]
  before = canary.sing()
  for i in range(_REPETITIONS.value):
    for system, module in _SYSTEMS.items():
      throughput = run_leg(
        module,
        arguments,
        num_ps,
        num_workers,
        _WARMUP_SECONDS.value,
        _SECONDS.value,
        check=signals.check,
      )
      after = canary.sing()
      turns[system].append(_Turn(throughput, (before, after)))
      print(
        f"  {i + 1}/{_REPETITIONS.value} {system:17}"
        f"{throughput.examples_per_second:10,.0f} examples/s"
        f"{throughput.cpu_microseconds_per_example:8.2f} us CPU/example"
        f"   canary {before:.2f} {after:.2f} s",
        file=sys.stderr,
        flush=True,
      )
      before = after
  return turns


def _summary(canary: Canary, turns: Sequence[_Turn]) -> dict:
  kept = [t for t in turns if not canary.is_disturbed(*t.canary_seconds)]
  summary = {"turns": len(turns), "undisturbed": len(kept)}
  # A figure of a disturbed machine is better than none, as long as it is called that.
  for field in dataclasses.fields(Throughput):
    values = [getattr(t.throughput, field.name) for t in kept or turns]
    summary[field.name] = {
      "median": statistics.median(values),
      "min": min(values),
      "max": max(values),
    }
  summary["all"] = [
    {**dataclasses.asdict(t.throughput), "canary_seconds": t.canary_seconds}
    for t in turns
  ]
  return summary


def _as_text(layout: str, systems: dict[str, dict]) -> str:
  lines = [
    f"{layout}, batch {_BATCH_SIZE.value}, {os.cpu_count()} cores",
    f"  {'':17}{'steps/s':>9}{'examples/s':>12}{'from - to':>21}"
    f"{'CPU us/example':>16}  undisturbed",
  ]
  for system, summary in systems.items():
    examples = summary["examples_per_second"]
    extent = f"{examples['min']:,.0f} - {examples['max']:,.0f}"
    lines.append(
      f"  {system:17}{summary['steps_per_second']['median']:9,.0f}"
      f"{examples['median']:12,.0f}{extent:>21}"
      f"{summary['cpu_microseconds_per_example']['median']:16.2f}"
      f"  {summary['undisturbed']} of {summary['turns']} turns"
    )
  ours, peer = (systems[s]["examples_per_second"]["median"] for s in _SYSTEMS)
  lines.append(f"  monolith / plain TensorFlow: {ours / peer:.2f}")
  if not all(summary["undisturbed"] for summary in systems.values()):
    lines.append("  DISTURBED: every turn of one of them; the figures are no evidence")
  return "\n".join(lines)


if __name__ == "__main__":
  app.run(main)
