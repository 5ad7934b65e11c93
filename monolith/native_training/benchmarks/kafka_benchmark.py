"""Messages a second from a topic: the dataset beside the bare client.

Starts a broker, fills a topic, and reads all of it in turns, each in a process of its
own: with `confluent_kafka` alone, which only counts the messages; with the dataset
eagerly; and with the dataset in a graph. A ratio is that of two turns of one round.
Prints medians, ranges and ratios; --json=FILE writes them.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.benchmarks import filled_topic, rounds
from monolith.native_training.benchmarks.canary import Canary
from monolith.native_training.benchmarks.rounds import Speed
from monolith.native_training.local_broker.local_broker import BrokerFailed, LocalBroker
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner.local_cluster import python_environment
from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

_READER = "monolith.native_training.benchmarks.message_reader"
_READERS = {"bare client": "bare", "dataset, eager": "eager", "dataset, graph": "graph"}
_PEER = "bare client"
_TOPIC = "messages"
_POLL_SECONDS = 0.1

_MESSAGES = flags.DEFINE_integer(
  "messages", 5_000_000, "Messages of the topic.", lower_bound=100_000
)
_BYTES = flags.DEFINE_integer("bytes", 60, "Size of a message.", lower_bound=1)
_PARTITIONS = flags.DEFINE_integer("partitions", 4, "Of the topic.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 1024, "The dataset's `poll_batch_size`.", lower_bound=1
)
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Rounds.", lower_bound=1)
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")


def main(argv: Sequence[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  canary = Canary()
  try:
    with StopSignals() as signals, LocalBroker() as broker:
      servers = broker.bootstrap_servers
      values = [b"%0*d" % (_BYTES.value, i) for i in range(10_000)]
      filled_topic.fill(servers, _TOPIC, _PARTITIONS.value, values, _MESSAGES.value)
      legs = {
        name: functools.partial(_read, reader, servers, signals)
        for name, reader in _READERS.items()
      }
      _read("bare", servers, signals)  # Has the topic in memory for all.
      turns = rounds.take_turns(legs, _REPETITIONS.value, canary)
  except (BrokerFailed, ProcessFailed) as error:
    print(*getattr(error, "last_lines", ()), error, sep="\n", file=sys.stderr)
    return 1
  except Stopped as stop:
    return 128 + stop.signum
  found = rounds.compare(turns, _PEER, canary.longest_undisturbed())
  title = (
    f"{_MESSAGES.value:,} messages of {_BYTES.value} bytes, {_PARTITIONS.value} "
    f"partitions, poll_batch_size {_BATCH_SIZE.value}"
  )
  print(rounds.as_text(title, found, _PEER))
  if _JSON.value:
    with open(user_path(_JSON.value), "w") as file:
      json.dump({"title": title, **found}, file, indent=2)
  return 0


def _read(reader: str, servers: str, signals: StopSignals) -> Speed:
  lines = []
  with LocalProcesses(lambda name, line: lines.append(line)) as processes:
    command = [sys.executable, "-m", _READER, f"--reader={reader}"]
    command += [f"--servers={servers}", f"--topic={_TOPIC}"]
    command += [f"--messages={_MESSAGES.value}", f"--batch_size={_BATCH_SIZE.value}"]
    processes.start(reader, command, python_environment())
    while processes.running():
      signals.check()
      time.sleep(_POLL_SECONDS)
    processes.check()
  return Speed(**json.loads(next(line for line in lines if line.startswith("{"))))


if __name__ == "__main__":
  app.run(main)
