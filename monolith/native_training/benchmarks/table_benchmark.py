"""Embedding tables through TensorFlow ops, ours beside others, on the same data.

The others: TensorFlow's DenseHashTable and MutableHashTable, and a static variable, in
our process; and TensorFlow Recommenders Addons (TFRA) in a process and environment of
its own, which is made at first use. Measured are uniform lookups, Adagrad updates with
repeated ids, and memory and the slowest batch while growing from empty. All tables are
checked against NumPy, before they are timed or, those that grow, afterwards. They take
turns; a random gather of plain rows before and after each leg shows whether somebody
else used the machine, and such legs are left out.
Prints medians, ranges and ratios; --json=FILE and --png=FILE write them as well.

All tables of an operation are in memory at once: about 13 GB with the defaults.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence

from absl import app, flags

from monolith.native_training.benchmarks.canary import Canary
from monolith.native_training.benchmarks.table import report
from monolith.native_training.benchmarks.table.gather_canary import (
  gather_song,
  longest_undisturbed,
)
from monolith.native_training.benchmarks.table.host_process import (
  HostFailed,
  HostProcess,
)
from monolith.native_training.benchmarks.table.legs import summary, take_turns
from monolith.native_training.benchmarks.table.peer_environment import (
  NoPeer,
  recommenders_addons_python,
)
from monolith.native_training.benchmarks.table.workload import Workload
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

# Peer -> the module of its subjects -> operation -> systems.
_SUBJECTS = {
  "tensorflow": "tensorflow_subjects",
  "tfra": "recommenders_addons_subjects",
}
_OURS = {
  "lookup": ["monolith"],
  "update": ["monolith Adagrad"],
  "growth": ["monolith", "monolith Adagrad"],
}
_SYSTEMS = {
  "tensorflow": {
    "lookup": ["DenseHashTable", "MutableHashTable", "tf.gather"],
    "update": ["tf.Variable Adagrad"],
    "growth": ["DenseHashTable", "MutableHashTable"],
  },
  "tfra": {
    "lookup": ["TFRA Variable", "TFRA CuckooHashTable"],
    "update": ["TFRA Adagrad"],
    "growth": ["TFRA Variable", "TFRA CuckooHashTable"],
  },
}

_PEERS = flags.DEFINE_multi_enum(
  "peers", list(_SYSTEMS), list(_SYSTEMS), "Measure beside these."
)
_OPERATIONS = flags.DEFINE_multi_enum(
  "operations", list(_OURS), list(_OURS), "What to measure."
)
_IDS = flags.DEFINE_integer("ids", 10_000_000, "Rows.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 32, "Floats of a row.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 65_536, "Ids of a call.", lower_bound=1)
_THREADS = flags.DEFINE_integer("threads", 2, "Threads of an op.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Duration of a leg.", lower_bound=0.0)
_REPETITIONS = flags.DEFINE_integer(
  "repetitions", 7, "Legs of each, undisturbed or not.", lower_bound=1
)
_GROWTH_REPETITIONS = flags.DEFINE_integer(
  "growth_repetitions",
  3,
  "How often each grows from empty, undisturbed or not.",
  lower_bound=1,
)
_SEED = flags.DEFINE_integer("seed", 0, "Of ids and gradients.", lower_bound=0)
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")
_PNG = flags.DEFINE_string("png", "", "Also draw it, to this file.")


class DifferentData(RuntimeError):
  """Two processes would be fed with different ids or gradients."""


def main(argv: Sequence[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  workload = Workload(
    _IDS.value, _DIM.value, min(_BATCH.value, _IDS.value), _SEED.value
  )
  try:
    with StopSignals() as signals:
      result = _measure(workload, _pythons(_PEERS.value), signals)
  except (HostFailed, DifferentData) as error:
    print(error, file=sys.stderr)
    return 1
  except Stopped as stop:
    return 128 + stop.signum
  print(report.as_text(result))
  if _JSON.value:
    with open(_JSON.value, "w") as file:
      json.dump(result, file, indent=2)
  if _PNG.value:
    # Only now: it takes a second, and fonts.
    from monolith.native_training.benchmarks.table.chart import write_chart

    write_chart(result, _PNG.value)
  return 0


def _pythons(peers: Sequence[str]) -> dict[str, str]:
  """Peer -> the interpreter that has it; those that there are."""
  pythons = {"tensorflow": sys.executable}
  if "tfra" in peers:
    try:
      pythons["tfra"] = recommenders_addons_python()
    except NoPeer as reason:
      print(f"TFRA is left out: {reason}", file=sys.stderr)
  return pythons


def _measure(workload: Workload, pythons: dict[str, str], signals: StopSignals) -> dict:
  threads = _THREADS.value
  canary = Canary(gather_song(threads), longest_undisturbed)
  for _ in range(3):
    canary.sing()
  result: dict = {
    "settings": {
      **{name: getattr(workload, name) for name in ("ids", "dim", "batch", "seed")},
      "threads": threads,
      "cores": len(os.sched_getaffinity(0)),
      "seconds": _SECONDS.value,
    }
  }
  legs_of = {}
  for operation in (o for o in _OURS if o in _OPERATIONS.value):
    print(f"{operation}:", file=sys.stderr, flush=True)
    if operation == "growth":
      legs = {
        system: functools.partial(_grow, peer, system, pythons[peer], workload)
        for peer, system in _systems(operation, pythons)
      }
      taken = take_turns(canary, legs, _GROWTH_REPETITIONS.value, signals.check)
    else:
      with _hosts(pythons, workload) as hosts:
        legs = {}
        for peer, system in _systems(operation, pythons):
          signals.check()
          hosts[peer].ask(f"prepare_{operation}", system=system)
          print(f"  {system} is as NumPy says", file=sys.stderr, flush=True)
          legs[system] = functools.partial(_run, hosts[peer], system)
        taken = take_turns(canary, legs, _REPETITIONS.value, signals.check)
    legs_of[operation] = taken
  # Only now the canary has shown how much it varies.
  result["canary"] = {
    "songs": len(canary.songs),
    "fastest_seconds": min(canary.songs),
    "median_seconds": statistics.median(canary.songs),
    "longest_undisturbed_seconds": canary.longest_undisturbed(),
  }
  for operation, taken in legs_of.items():
    result[operation] = {s: summary(canary, legs) for s, legs in taken.items()}
  return result


def _systems(operation: str, pythons: dict[str, str]) -> Iterator[tuple[str, str]]:
  """Peers and systems of an operation; ours, which lives with TensorFlow's, first."""
  yield from (("tensorflow", system) for system in _OURS[operation])
  for peer in _PEERS.value:
    if peer in pythons:
      yield from ((peer, system) for system in _SYSTEMS[peer][operation])


@contextlib.contextmanager
def _hosts(pythons: dict[str, str], workload: Workload):
  """A host for each peer, all fed with the same data."""
  with contextlib.ExitStack() as stack:
    hosts = {
      peer: stack.enter_context(
        HostProcess(_SUBJECTS[peer], python, workload, _THREADS.value)
      )
      for peer, python in pythons.items()
    }
    fingerprints = {peer: h.ask("hello")["fingerprint"] for peer, h in hosts.items()}
    if len(set(fingerprints.values())) > 1:
      raise DifferentData(f"NumPy's versions draw different numbers: {fingerprints}")
    yield hosts


def _run(host: HostProcess, system: str) -> dict[str, float]:
  answer = host.ask("run", system=system, seconds=_SECONDS.value)
  return {"million_ids_per_second": answer["ids_per_second"] / 1e6}


def _grow(peer: str, system: str, python: str, workload: Workload) -> dict[str, float]:
  with HostProcess(_SUBJECTS[peer], python, workload, _THREADS.value) as host:
    return host.ask("grow", system=system)


if __name__ == "__main__":
  app.run(main)
