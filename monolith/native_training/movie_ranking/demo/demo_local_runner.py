"""Trains the movie-ranking model on this machine: servers, workers, and a result.

Starts parameter servers and workers as processes of their own, shows how they get on,
evaluates what they trained, and leaves no process behind. It does not import TensorFlow
itself, so that the processes start at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.local_broker.local_broker import BrokerFailed
from monolith.native_training.local_files import closed_pipe
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner.console import Console
from monolith.native_training.local_runner.local_cluster import local_cluster
from monolith.native_training.local_runner.local_processes import ProcessFailed
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.movie_ranking import last_words, result_file
from monolith.native_training.movie_ranking.demo import (
  demo_flags,
  demo_model_dir,
  demo_ports,
  demo_run_dir,
  demo_serving,
  demo_stream,
)
from monolith.native_training.movie_ranking.demo.demo_job import DemoJob, NothingTrained

flags.adopt_module_key_flags(demo_flags)


@closed_pipe.ends_quietly
def main(argv: Sequence[str]) -> int:
  """Runs the demo.

  Returns:
    The exit code: 0, 1 where a process failed, nothing was trained or nobody reads what
    it prints, 2 for flags that make no sense, and 128 + the signal's number where it
    was stopped.
  """
  del argv
  result_json = user_path(demo_flags.RESULT_JSON.value)
  try:
    demo_flags.check()
    demo_ports.check()
    demo_stream.check_topic()
    demo_stream.check_configuration()
    demo_stream.check_cluster()
    tasks = local_cluster(demo_flags.NUM_PS.value, demo_flags.NUM_WORKERS.value)
    result_file.prepare(result_json, "--result_json")
    # Last, so that a run that is refused leaves no folder behind.
    model_dir = demo_model_dir.prepare(
      user_path(demo_flags.MODEL_DIR.value), demo_flags.DATASET.value
    )
  except (ValueError, OSError) as error:
    return demo_flags.refusal(str(error))
  console = Console(sys.stdout)
  try:
    with StopSignals() as signals, demo_run_dir.made() as run_dir:
      job = DemoJob(console, signals, tasks, model_dir, run_dir)
      result = job.run()
      console.line(result.as_text())
      if result_json:
        result.write_json(result_json)
      if demo_flags.SERVE.value:
        demo_serving.serve(console, signals, job.model_flags(), model_dir, run_dir)
  except ProcessFailed as failure:
    console.end_status()
    _tell_failure(console, failure, f"{model_dir}/logs")
    return 1
  except BrokerFailed as failure:
    console.end_status()
    console.line(str(failure))
    return 1
  except NothingTrained as nothing:
    console.end_status()
    console.line(f"{nothing} All logs are in {model_dir}/logs")
    return 1
  except Stopped as stop:
    console.end_status()
    console.line(f"{stop}; {demo_model_dir.what_is_saved(model_dir)}")
    return 128 + stop.signum
  return 0


def _tell_failure(console: Console, failure: ProcessFailed, logs: str) -> None:
  if reason := last_words.reason_in(failure.last_lines):
    console.line(f"{failure}: {reason}. All logs are in {logs}")
    return
  for line in failure.last_lines:
    console.line(line, failure.name)
  console.line(f"{failure}; its last lines are above, all logs in {logs}")


def run() -> None:
  """Runs the demo as a program."""
  app.run(main, flags_parser=demo_flags.parse_flags)


if __name__ == "__main__":
  run()
