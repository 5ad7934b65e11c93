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

from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.fault_rounds import rounds_program
from monolith.native_training.fault_rounds.rounds_program import RoundFolders
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.stop_signals import StopSignals
from monolith.native_training.stream_delivery import (
  delivery_report,
  delivery_verdict,
  kill_plan,
)
from monolith.native_training.stream_delivery.kill_round import KillRound, Outcome

flags.adopt_module_key_flags(rounds_program)

_ROUNDS = flags.DEFINE_integer("rounds", 20, "How many rounds.", lower_bound=1)
_VICTIMS = flags.DEFINE_multi_enum(
  "victim", kill_plan.VICTIMS, kill_plan.VICTIMS, "Whom to kill, in turn."
)
_SEED = flags.DEFINE_integer("seed", 1, "Decides when what is killed.")


def _judge(outcome: Outcome) -> delivery_verdict.Verdict:
  from monolith.native_training.stream_delivery import message_counts
  from monolith.native_training.training.checkpoints import checkpoint

  path = checkpoint.latest_checkpoint(outcome.model_dir)
  if path is None:
    return delivery_verdict.judge(outcome, None, False)
  counts = message_counts.counts(path)
  return delivery_verdict.judge(outcome, counts, checkpoint.is_final(path))


def _play(folders: RoundFolders, signals: StopSignals) -> bool:
  """Plays all rounds, telling of each; returns whether one was lost."""
  # Here, because TensorFlow takes long to import, which --help need not.
  from monolith.native_training.stream_delivery import message_counts

  limit_seconds, json = rounds_program.LIMIT_SECONDS.value, rounds_program.JSON.value
  rounds = []
  print(delivery_report.heading(), flush=True)
  with LocalBroker() as broker:
    kills = kill_plan.kills(_ROUNDS.value, _SEED.value, _VICTIMS.value)
    for number, kill in enumerate(kills, 1):
      folder = folders.begin(str(number))
      outcome = KillRound(
        kill,
        broker,
        message_counts.message,
        message_counts.covered,
        folder,
        limit_seconds,
        signals.check,
      ).run()
      played = delivery_report.Round(number, outcome, _judge(outcome))
      rounds.append(played)
      folders.end(delivery_report.row(played), played.is_lost)
      if json:  # After every round: a run takes long.
        delivery_report.write_json(json, _SEED.value, rounds)
  print(delivery_report.summary(rounds), flush=True)
  return any(played.is_lost for played in rounds)


def main(argv: Sequence[str]) -> int:
  """Runs it; returns the exit code."""
  return rounds_program.run(argv, "stream-faults", _play)


if __name__ == "__main__":
  app.run(main)
