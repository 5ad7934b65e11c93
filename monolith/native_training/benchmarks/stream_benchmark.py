"""Training from a topic beside training from batches, on the same examples.

--mode=throughput: the movie-ranking model trains from ratings in memory, as the demo
does it, from a file of serialized Examples, and from a topic that is full of the same
ones, in turns; a ratio is that of two turns of one round. --mode=latency: a producer
sends ratings at a steady rate, and for each of them it is measured how long after that
it is trained on.

Everything runs on this machine, the broker too. Prints medians and ranges; --json=FILE
writes them.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training.benchmarks import filled_topic, rounds
from monolith.native_training.benchmarks.canary import Canary
from monolith.native_training.benchmarks.leg import LegTooSlow, run_leg
from monolith.native_training.benchmarks.rounds import Speed
from monolith.native_training.benchmarks.throughput import NotSteady
from monolith.native_training.data.example_values import serialize_one
from monolith.native_training.local_broker.local_broker import BrokerFailed, LocalBroker
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner.local_cluster import python_environment
from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.movie_ranking import rating_table

_PEER = "batch"
_TRAINING = "stream_training"
_PRODUCER = "monolith.native_training.movie_ranking.kafka_producer"
_TOPIC = "ratings"
_SILENCE_MS = 10_000
_PASSES = 8  # Orders of the ratings before they come in the first one again.
_ENDLESS = 1_000_000_000

_MODE = flags.DEFINE_enum(
  "mode", "throughput", ["throughput", "latency"], "What is measured."
)
_NUM_PS = flags.DEFINE_integer(
  "num_ps", 2, "Parameter servers; 0 is one process for all.", lower_bound=0
)
_NUM_WORKERS = flags.DEFINE_integer(
  "num_workers", 2, "Workers; the latency is measured with one.", lower_bound=1
)
_REPETITIONS = flags.DEFINE_integer("repetitions", 5, "Rounds.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 15.0, "What is measured of a turn.")
_WARMUP_SECONDS = flags.DEFINE_float("warmup_seconds", 5.0, "What is not, before that.")
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 512, "Examples a step of one worker; at most so many from a topic."
)
_MESSAGES = flags.DEFINE_integer(
  "messages", 4_000_000, "Messages of the topic.", lower_bound=1
)
_PARTITIONS = flags.DEFINE_integer("partitions", 4, "Of the topic.", lower_bound=1)
_RATE = flags.DEFINE_float("rate", 1000.0, "Messages a second, for the latency.", 0.0)
_JSON = flags.DEFINE_string("json", "", "Also write the result to this file, as JSON.")


def main(argv: Sequence[str]) -> int:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  measure = {"throughput": _throughput, "latency": _latency}[_MODE.value]
  try:
    with (
      StopSignals() as signals,
      LocalBroker() as broker,
      tempfile.TemporaryDirectory(prefix="monolith-benchmark-") as folder,
    ):
      result = measure(broker.bootstrap_servers, folder, signals)
  except (BrokerFailed, LegTooSlow, NotSteady, ProcessFailed) as error:
    print(*getattr(error, "last_lines", ()), error, sep="\n", file=sys.stderr)
    return 1
  except Stopped as stop:
    return 128 + stop.signum
  if _JSON.value:
    with open(user_path(_JSON.value), "w") as file:
      json.dump(result, file, indent=2)
  return 0


def _throughput(servers: str, folder: str, signals: StopSignals) -> dict:
  ratings_dir = os.path.join(folder, "ratings")
  values = _messages(rating_table.load_rating_table("100k", ratings_dir).train)
  filled_topic.fill(servers, _TOPIC, _PARTITIONS.value, values, _MESSAGES.value)
  examples = os.path.join(folder, "ratings.tfrecord")
  with tf.io.TFRecordWriter(examples) as writer:
    for value in values:
      writer.write(value)
  canary = Canary()
  legs = {
    "batch": functools.partial(_train, lambda: [], ratings_dir, signals),
    "file": functools.partial(
      _train, lambda: [f"--examples={examples}"], ratings_dir, signals
    ),
    "stream": functools.partial(
      _train, lambda: _stream_flags(servers), ratings_dir, signals
    ),
  }
  turns = rounds.take_turns(legs, _REPETITIONS.value, canary)
  found = rounds.compare(turns, _PEER, canary.longest_undisturbed())
  layout = f"{_NUM_PS.value} servers, {_NUM_WORKERS.value} workers"
  title = (
    f"{layout if _NUM_PS.value else 'one process'}, batch {_BATCH_SIZE.value}, "
    f"{_PARTITIONS.value} partitions"
  )
  print(rounds.as_text(title, found, _PEER))
  return {"title": title, **found}


def _train(
  more_flags: Callable[[], list[str]], ratings_dir: str, signals: StopSignals
) -> Speed:
  throughput = run_leg(
    _TRAINING,
    [
      f"--ratings_dir={ratings_dir}",
      f"--epochs={_ENDLESS}",
      f"--batch_size={_BATCH_SIZE.value}",
      *more_flags(),
    ],
    _NUM_PS.value,
    _NUM_WORKERS.value,
    _WARMUP_SECONDS.value,
    _SECONDS.value,
    check=signals.check,
  )
  return Speed(throughput.examples_per_second, throughput.cpu_microseconds_per_example)


def _stream_flags(servers: str) -> list[str]:
  """Of a job that reads the topic from its beginning."""
  return [
    f"--kafka_servers={servers}",
    f"--topic={_TOPIC}",
    f"--group={uuid.uuid4().hex}",
    f"--stream_timeout={_SILENCE_MS}",
  ]


def _messages(ratings: rating_table.RatingColumns) -> list[bytes]:
  """The ratings as messages, several times, each time in another order."""
  rows = zip(*(column.tolist() for column in ratings), strict=True)
  messages = [
    serialize_one({"mov": [movie], "uid": [user], "label": [stars]})
    for user, movie, stars in rows
  ]
  random = np.random.default_rng(0)
  orders = (random.permutation(len(messages)) for _ in range(_PASSES))
  return [messages[i] for order in orders for i in order]


def _latency(servers: str, folder: str, signals: StopSignals) -> dict:
  latencies = os.path.join(folder, "latencies.npy")
  filled_topic.fill(servers, _TOPIC, _PARTITIONS.value, [], 0)
  with LocalProcesses(lambda name, line: None) as producing:
    command = [sys.executable, "-m", _PRODUCER, f"--servers={servers}", "--loop"]
    command += [f"--topic={_TOPIC}", f"--rate={_RATE.value}"]
    producing.start("producer", command, python_environment())

    def check() -> None:
      signals.check()
      producing.check()

    run_leg(
      _TRAINING,
      [
        f"--batch_size={_BATCH_SIZE.value}",
        f"--latencies={latencies}",
        *_stream_flags(servers),
      ],
      _NUM_PS.value,
      1,
      _WARMUP_SECONDS.value,
      _SECONDS.value,
      check=check,
    )
  moments, seconds = np.load(latencies).T
  # What the producer has sent while the job started is not its latency.
  seconds = seconds[moments >= moments[-1] - _SECONDS.value]
  p50, p99 = np.percentile(seconds, (50, 99)).tolist()
  result = {
    "examples": len(seconds),
    "examples_per_second": len(seconds) / _SECONDS.value,
    "event_to_trained_p50_ms": 1000 * p50,
    "event_to_trained_p99_ms": 1000 * p99,
    "event_to_trained_max_ms": 1000 * float(seconds.max()),
  }
  print(
    f"{result['examples']:,} examples at {result['examples_per_second']:,.0f}/s, from "
    f"message to trained: p50 {result['event_to_trained_p50_ms']:,.0f} ms, "
    f"p99 {result['event_to_trained_p99_ms']:,.0f} ms, "
    f"longest {result['event_to_trained_max_ms']:,.0f} ms"
  )
  return result


if __name__ == "__main__":
  app.run(main)
