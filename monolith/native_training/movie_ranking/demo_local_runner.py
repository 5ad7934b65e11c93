"""Trains the movie-ranking model on this machine: servers, workers, and a result.

Starts parameter servers and workers as processes of their own, shows how they get on,
evaluates what they trained, and leaves no process behind. It does not import TensorFlow
itself, so that the processes start at once.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence

from absl import app, flags

from monolith.native_training.movie_ranking.console import Console
from monolith.native_training.movie_ranking.demo_report import DemoResult, ratings_name
from monolith.native_training.movie_ranking.local_cluster import (
  Task,
  local_cluster,
  python_environment,
)
from monolith.native_training.movie_ranking.local_processes import (
  LocalProcesses,
  ProcessFailed,
)
from monolith.native_training.movie_ranking.stop_signals import Stopped, StopSignals
from monolith.native_training.movie_ranking.training_progress import (
  JobProgress,
  ProgressFiles,
)
from monolith.native_training.movie_ranking.user_path import user_path

_PACKAGE = "monolith.native_training.movie_ranking"
_EVALUATION = "evaluation"
_POLL_SECONDS = 0.1
_SERVER_EXIT_SECONDS = 20.0
_TRAINING_SHARE = 0.9
# What TensorFlow's C++ tells of itself, and what precedes the message in a line of
# Python's log, is in the log files only.
_CHATTER = re.compile(
  r"I0000 |E0000 .*cuInit|.{26}: I tensorflow/|\t \[\[\{\{node |"
  r"W0000 .*(rendezvous is aborting|RecvTensor cancelled)|"
  r"WARNING: All log messages before absl::InitializeLog"
)
_LOG_PREFIX = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ \S+\.py:\d+\] ")
_SEVERITY = {"I": "", "W": "warning: ", "E": "error: ", "F": "fatal: "}

_TRAINING_TYPE = flags.DEFINE_enum(
  "training_type", "batch", ["batch", "stream"], "Train on files or on a stream."
)
_NUM_PS = flags.DEFINE_integer(
  "num_ps", 2, "Parameter servers. With 0, one worker holds everything.", lower_bound=0
)
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 2, "Workers.", lower_bound=1)
_DATASET = flags.DEFINE_enum(
  "dataset",
  "100k",
  ["100k", "1m", "25m", "synthetic"],
  "MovieLens ratings of that size, or generated ones. Where MovieLens cannot be "
  "downloaded, the real 100k ratings of a Python package take its place.",
)
_NUM_RATINGS = flags.DEFINE_integer(
  "num_ratings", 1_000_000, "How many ratings 'synthetic' has.", lower_bound=1
)
_EPOCHS = flags.DEFINE_integer("epochs", 5, "Passes over the ratings.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer(
  "batch_size", 512, "Examples a step of one worker.", lower_bound=1
)
_SEED = flags.DEFINE_integer(
  "seed", 0, "Of the order of ratings, and of synthetic ones."
)
_MODEL_DIR = flags.DEFINE_string(
  "model_dir",
  "",
  "Folder for checkpoints, TensorBoard logs and the processes' logs. A model in it is "
  "trained further. Empty: a new temporary folder, which stays.",
)
_RATINGS_DIR = flags.DEFINE_string(
  "ratings_dir",
  "",
  "Folder to keep prepared MovieLens ratings in for the next run. Empty: not kept.",
)
_RESULT_JSON = flags.DEFINE_string(
  "result_json", "", "Also write the result to this file, as JSON."
)


def parse_flags(argv: Sequence[str]) -> list[str]:
  """Parses the command line; what is no flag of this program is named and ignored.

  Args:
    argv: the program's name and its arguments.

  Returns:
    The program's name.
  """
  try:
    program, *unknown = flags.FLAGS(list(argv), known_only=True)
  except flags.Error as error:
    sys.exit(_refuse(str(error)))
  if unknown:
    print(f"ignored, not flags of this demo: {' '.join(unknown)}", file=sys.stderr)
  return [program]


def main(argv: Sequence[str]) -> int:
  """Runs the demo.

  Returns:
    The exit code: 0, 1 where a process failed, 2 for flags that make no sense, and
    128 + the signal's number where it was stopped.
  """
  del argv
  if _TRAINING_TYPE.value == "stream":
    return _refuse(
      "--training_type=stream needs the Kafka data source, which is not part of this "
      "version yet; use --training_type=batch"
    )
  try:
    tasks = local_cluster(_NUM_PS.value, _NUM_WORKERS.value)
    model_dir = user_path(_MODEL_DIR.value) or tempfile.mkdtemp(prefix="movie_ranking-")
    os.makedirs(os.path.join(model_dir, "logs"), exist_ok=True)
    result_json = user_path(_RESULT_JSON.value)
    if result_json:
      with open(result_json, "a"):  # Tells now what would be in the way at the end.
        pass
  except (ValueError, OSError) as error:
    return _refuse(str(error))
  console = Console(sys.stdout)
  run_dir = tempfile.mkdtemp(prefix="monolith-demo-")
  try:
    with StopSignals() as signals:
      result = _Demo(console, signals, tasks, model_dir, run_dir).run()
  except ProcessFailed as failure:
    console.end_status()
    for line in failure.last_lines:
      console.line(line, failure.name)
    console.line(f"{failure}; its last lines are above, all logs in {model_dir}/logs")
    return 1
  except Stopped as stop:
    console.end_status()
    console.line(f"{stop}; what was saved until then is in {model_dir}")
    return 128 + stop.signum
  finally:
    shutil.rmtree(run_dir, ignore_errors=True)
  console.line(result.as_text())
  if result_json:
    result.write_json(result_json)
  return 0


class _Demo:
  """One run. `model_dir` is for the user to keep, `run_dir` is removed afterwards."""

  def __init__(
    self,
    console: Console,
    signals: StopSignals,
    tasks: Sequence[Task],
    model_dir: str,
    run_dir: str,
  ):
    self._console = console
    self._signals = signals
    self._tasks = tasks
    self._model_dir = model_dir
    self._run_dir = run_dir
    self._ratings_dir = user_path(_RATINGS_DIR.value) or os.path.join(
      run_dir, "ratings"
    )
    self._progress_files = {
      task.name: os.path.join(run_dir, f"{task.role}-{task.index}.json")
      for task in tasks
      if task.role == "worker"
    }
    self._progress = ProgressFiles(list(self._progress_files.values()))
    self._begin = time.monotonic()
    self._next_memory_look = 0.0

  def run(self) -> DemoResult:
    """Trains and evaluates.

    Raises:
      ProcessFailed: one of the processes.
      Stopped: by a signal.
    """
    self._console.line(
      f"{_NUM_PS.value} parameter servers, {_NUM_WORKERS.value} workers, "
      f"{ratings_name(_DATASET.value)}; model in {self._model_dir}"
    )
    logs = os.path.join(self._model_dir, "logs")
    with LocalProcesses(self._show_line, logs) as processes:
      self._start(processes)
      self._wait_for(processes, list(self._progress_files))
      training = self._progress.read()
      self._begin_evaluation()
      self._let_servers_leave(processes)
      self._wait_for(processes, [_EVALUATION])
      self._console.end_status()
      return self._result(training, processes.peak_memory_bytes())

  def _path(self, name: str) -> str:
    return os.path.join(self._run_dir, name)

  def _show_line(self, name: str, line: str) -> None:
    if line and not _CHATTER.match(line):
      text = _LOG_PREFIX.sub(lambda prefix: _SEVERITY[prefix[1]], line, count=1)
      self._console.line(text, name)

  def _start(self, processes: LocalProcesses) -> None:
    environment = python_environment()
    for task in self._tasks:
      arguments = ["train", *self._model_flags()]
      if task.name in self._progress_files:
        arguments.append(f"--progress_file={self._progress_files[task.name]}")
      processes.start(
        task.name, _python(*arguments), {**environment, "TF_CONFIG": task.tf_config}
      )
    evaluation = _python(
      "evaluate_held_out",
      *self._model_flags(),
      f"--wait_for={self._path('evaluate_now')}",
      f"--output={self._path('metrics.json')}",
    )
    processes.start(_EVALUATION, evaluation, environment)

  def _model_flags(self) -> list[str]:
    return [
      f"--model_dir={self._model_dir}",
      f"--dataset={_DATASET.value}",
      f"--ratings_dir={self._ratings_dir}",
      f"--num_ratings={_NUM_RATINGS.value}",
      f"--epochs={_EPOCHS.value}",
      f"--batch_size={_BATCH_SIZE.value}",
      f"--seed={_SEED.value}",
    ]

  def _wait_for(self, processes: LocalProcesses, names: Sequence[str]) -> None:
    """Returns when the named processes have ended well."""
    while set(names) & set(processes.running()):
      self._poll(processes)
      progress = self._progress.read()
      if progress.is_done:
        # Leaving takes the other processes seconds, which need not be waited for.
        self._begin_evaluation()
      self._console.status(self._status(progress))
    self._poll(processes)

  def _begin_evaluation(self) -> None:
    open(self._path("evaluate_now"), "w").close()

  def _poll(self, processes: LocalProcesses) -> None:
    self._signals.check()
    processes.check()
    if time.monotonic() >= self._next_memory_look:
      self._next_memory_look = time.monotonic() + 1
      processes.peak_memory_bytes()
    time.sleep(_POLL_SECONDS)

  def _let_servers_leave(self, processes: LocalProcesses) -> None:
    """The chief told them to; one that stays is ended."""
    deadline = time.monotonic() + _SERVER_EXIT_SECONDS
    servers = {task.name for task in self._tasks if task.role == "ps"}
    while servers & set(processes.running()) and time.monotonic() < deadline:
      self._poll(processes)
    staying = sorted(servers & set(processes.running()))
    if staying:
      self._console.line(f"training is over, but {', '.join(staying)} did not end")
      processes.stop(staying)

  def _status(self, progress: JobProgress) -> str:
    elapsed = f"{time.monotonic() - self._begin:.0f} s"
    if progress.is_done:
      return f"evaluating, {elapsed}"
    if not progress.workers:
      return f"starting, {elapsed}"
    total = self._expected_examples()
    parts = [f"training, {elapsed}", f"{progress.examples:,} examples"]
    if total:
      parts[-1] += f" of {total:,} ({min(progress.examples / total, 1):.0%})"
    if progress.examples_per_second:
      parts.append(f"{progress.examples_per_second:,.0f} examples/s")
    if progress.loss is not None:
      parts.append(f"loss {progress.loss:.4f}")
    return ", ".join(parts)

  def _ratings_info(self) -> dict:
    """What is known of the prepared ratings: nothing before they are."""
    try:
      with open(os.path.join(self._ratings_dir, "ratings.json")) as file:
        return json.load(file)
    except OSError:
      return {}

  def _expected_examples(self) -> int:
    """About how many examples training will see; 0 while that is not known."""
    if _DATASET.value == "synthetic":
      return int(_NUM_RATINGS.value * _TRAINING_SHARE) * _EPOCHS.value
    return self._ratings_info().get("train", 0) * _EPOCHS.value

  def _result(self, training: JobProgress, memory: dict[str, int]) -> DemoResult:
    with open(self._path("metrics.json")) as file:
      metrics = json.load(file)
    return DemoResult(
      training_type=_TRAINING_TYPE.value,
      dataset=self._ratings_info().get("size", _DATASET.value),
      requested_dataset=_DATASET.value,
      examples=training.examples,
      seconds=training.seconds,
      total_seconds=time.monotonic() - self._begin,
      examples_per_second=training.examples_per_second,
      test_rmse=metrics.get("rank/rmse", math.nan),
      tables=training.tables,
      table_bytes=training.table_bytes,
      peak_memory_bytes=memory,
      model_dir=self._model_dir,
    )


def _python(module: str, *arguments: str) -> list[str]:
  return [sys.executable, "-m", f"{_PACKAGE}.{module}", *arguments]


def _refuse(message: str) -> int:
  print(f"demo: {message}", file=sys.stderr)
  return 2


def run() -> None:
  """Runs the demo as a program."""
  app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
  run()
