"""Kills what a job on a stream needs, and looks whether messages were skipped.

    bazel run //monolith/native_training/stream_delivery:stream_faults -- --rounds=20

Each round is a job of two servers and two workers on this machine, which trains on a
topic of a real broker while messages are sent to it, 1,000 a second for 20 seconds. In
mid-stream a worker, the chief, a server or the broker is killed with SIGKILL and
started again. In the end every process must have left well, the final checkpoint's
model must have been trained on each message at least once, and what the consumer group
has committed must be the end of the topic.

What a line of the table tells: `missing`, messages that the model was never trained on;
`repeats`, trainings that the model has in excess; `again`, examples that were trained
on in excess altogether, also those of which the model went back to a checkpoint (the
least that it can be); and `bound`, how many those may be, see `asked.most_repeats`.

The exit code is 0 where nothing was lost, 1 where something was, and 128 + the
signal's number where a signal ended it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence

from absl import app, flags, logging

from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.stream_delivery import (
  delivery_report,
  delivery_verdict,
  kill_plan,
)
from monolith.native_training.stream_delivery.kill_round import KillRound, Outcome

_ROUNDS = flags.DEFINE_integer("rounds", 20, "How many rounds.", lower_bound=1)
_VICTIMS = flags.DEFINE_multi_enum(
  "victim", kill_plan.VICTIMS, kill_plan.VICTIMS, "Whom to kill, in turn."
)
_SEED = flags.DEFINE_integer("seed", 1, "Decides when what is killed.")
_LIMIT_SECONDS = flags.DEFINE_float(
  "limit_seconds", 180, "A round that takes longer is ended, and lost.", lower_bound=1
)
_JSON = flags.DEFINE_string("json", "", "Also write the table to this file, as JSON.")
_KEEP = flags.DEFINE_string(
  "keep", "", "Folder for models and logs of lost rounds. Empty: a temporary one."
)


def _judge(outcome: Outcome) -> delivery_verdict.Verdict:
  from monolith.native_training.stream_delivery import message_counts
  from monolith.native_training.training import checkpoint

  path = checkpoint.latest_checkpoint(outcome.model_dir)
  if path is None:
    return delivery_verdict.judge(outcome, None, False)
  counts = message_counts.counts(path)
  return delivery_verdict.judge(outcome, counts, checkpoint.is_final(path))


def _play(folder: str, signals: StopSignals) -> list[delivery_report.Round]:
  """Plays all rounds, telling of each."""
  # Here, because TensorFlow takes long to import, which --help need not.
  from monolith.native_training.stream_delivery.message_counts import message

  rounds = []
  print(delivery_report.heading(), flush=True)
  with LocalBroker() as broker:
    kills = kill_plan.kills(_ROUNDS.value, _SEED.value, _VICTIMS.value)
    for number, kill in enumerate(kills, 1):
      own = os.path.join(folder, f"round-{number}")
      limit_seconds = _LIMIT_SECONDS.value
      outcome = KillRound(
        kill, broker, message, own, limit_seconds, signals.check
      ).run()
      played = delivery_report.Round(number, outcome, _judge(outcome))
      rounds.append(played)
      print(delivery_report.row(played), flush=True)
      if played.is_lost:
        print(f"      kept in {own}", flush=True)
      else:
        shutil.rmtree(own)
      if _JSON.value:  # After every round: a run takes long.
        delivery_report.write_json(_JSON.value, _SEED.value, rounds)
  print(delivery_report.summary(rounds), flush=True)
  return rounds


def main(argv: Sequence[str]) -> int:
  """Runs it; returns the exit code."""
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  logging.set_verbosity(logging.ERROR)
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # Relative paths are relative to where `bazel run` was called.
  os.chdir(os.environ.get("BUILD_WORKING_DIRECTORY", "."))
  if _KEEP.value:
    os.makedirs(_KEEP.value, exist_ok=True)
  folder = tempfile.mkdtemp(prefix="stream-faults-", dir=_KEEP.value or None)
  try:
    with StopSignals() as signals:
      rounds = _play(folder, signals)
  except Stopped as stop:
    print(stop, file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return 128 + stop.signum
  finally:
    with contextlib.suppress(OSError):  # Not empty: lost rounds are kept.
      os.rmdir(folder)
  return 1 if any(played.is_lost for played in rounds) else 0


if __name__ == "__main__":
  app.run(main)
