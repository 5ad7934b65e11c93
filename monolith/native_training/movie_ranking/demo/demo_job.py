"""The processes of one run of the demo: started, watched, and what comes of them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence

from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner import log_lines
from monolith.native_training.local_runner.console import Console
from monolith.native_training.local_runner.local_cluster import Task
from monolith.native_training.local_runner.restarts import RestartingProcesses
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.local_runner.training_progress import (
  JobProgress,
  ProgressFiles,
)
from monolith.native_training.movie_ranking import last_words
from monolith.native_training.movie_ranking.demo import (
  demo_flags,
  demo_model_dir,
  demo_ports,
)
from monolith.native_training.movie_ranking.demo.demo_report import (
  DemoResult,
  StreamResult,
  ratings_name,
)
from monolith.native_training.movie_ranking.demo.demo_stream import (
  PRODUCER,
  RatingStream,
)
from monolith.native_training.movie_ranking.demo.run_environment import run_environment

_PACKAGE = "monolith.native_training.movie_ranking"
_EVALUATION = "evaluation"
_POLL_SECONDS = 0.1
_EXIT_SECONDS = 20.0
_STOP_SECONDS = 300.0  # For the last checkpoint; a second Ctrl-C ends that.
_CHIEF = "worker 0"
_SAVE_SECONDS = 10  # Where what fails is started again, and on a stream.


class NothingTrained(Exception):
  """Training ended without having seen an example."""


class DemoJob:
  """One run of the demo, as its flags say.

  Args:
    console: shows how it gets on.
    signals: end it.
    tasks: the processes that train.
    model_dir: for the user to keep.
    run_dir: is removed afterwards.
  """

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
    self._log_dir = os.path.join(model_dir, "logs")
    self._run_dir = run_dir
    self._ratings_dir = user_path(demo_flags.RATINGS_DIR.value) or os.path.join(
      run_dir, "ratings"
    )
    self._progress_files = {
      task.name: os.path.join(run_dir, f"{task.role}-{task.index}.json")
      for task in tasks
      if task.role == "worker"
    }
    self._restarts = demo_flags.RESTART_FAILED.value
    self._progress = ProgressFiles(list(self._progress_files.values()))
    self._stream = None
    self._group = ""
    if demo_flags.is_stream():
      self._stream = RatingStream(run_dir, self._log_dir, signals.check)
      if self._stream.is_own:  # All that its broker has is new to the model.
        self._group = demo_model_dir.new_group(model_dir)
      else:
        self._group = demo_model_dir.consumer_group(model_dir, demo_flags.GROUP.value)
    self._sent: int | None = None  # Where training ended before all ratings were sent.
    self._begin = time.monotonic()
    self._next_memory_look = 0.0

  def run(self) -> DemoResult:
    """Trains and evaluates.

    Raises:
      ProcessFailed: one of the processes.
      NothingTrained: there was not one batch to train on.
      BrokerFailed: the demo's own broker cannot run.
      Stopped: by a signal.
    """
    trained_on = ratings_name(demo_flags.DATASET.value)
    if self._stream and not self._stream.is_own:
      trained_on = f"topic {demo_flags.TOPIC.value}"
    self._console.line(
      f"{demo_flags.NUM_PS.value} parameter servers, "
      f"{demo_flags.NUM_WORKERS.value} workers, "
      f"{trained_on}; model in {self._model_dir}"
    )
    with (
      self._stream or contextlib.nullcontext(),
      RestartingProcesses(
        self._show_line,
        self._log_dir,
        self._console.line,
        stop_seconds=_STOP_SECONDS,
      ) as processes,
    ):
      if self._stream:
        self._begin_stream(processes)
      self._start(processes)
      self._wait_for_training(processes)
      training = self._progress.read()
      if not training.examples:
        raise NothingTrained(self._why_nothing())
      self._note_what_is_sent(processes)
      self._begin_evaluation()
      self._let_leave(processes, "ps")
      self._wait_for(processes, [_EVALUATION])
      self._console.end_status()
      return self._result(training, processes)

  def _why_nothing(self) -> str:
    if self._stream:
      return (
        f"0 examples were trained: no rating came from topic {demo_flags.TOPIC.value} "
        f"within {demo_flags.STREAM_TIMEOUT.value / 1000:g} s (--stream_timeout) that "
        "this model was not trained on before; is something being sent to it?"
      )
    return (
      "0 examples were trained: no worker got a batch of "
      f"{demo_flags.batch_size()}; is --batch_size more than a worker's share?"
    )

  def _begin_stream(self, processes: RestartingProcesses) -> None:
    topic = demo_flags.TOPIC.value
    if not self._stream.is_own:
      self._console.line(
        f"reading topic {topic} from {self._stream.servers} as group {self._group}"
      )
      return
    self._console.line(
      f"a Kafka broker for this run listens at {self._stream.servers}; sending the "
      f"ratings to its topic {topic}, in the order of their times"
    )

    def poll() -> None:
      self._poll(processes)
      elapsed = time.monotonic() - self._begin
      self._console.status(f"preparing the ratings, {elapsed:.0f} s")

    self._stream.start_producer(processes, poll)

  def _note_what_is_sent(self, processes: RestartingProcesses) -> None:
    """Warns where training has ended before the demo's own producer."""
    if PRODUCER not in processes.running():
      return
    self._sent = self._stream.sent()
    self._console.line(
      f"warning: training ended when {self._sent:,} of {self._expected_examples():,} "
      "ratings were sent, because none came to a worker within "
      f"{demo_flags.STREAM_TIMEOUT.value / 1000:g} s (--stream_timeout); make that "
      "longer, or --rate higher"
    )

  def _path(self, name: str) -> str:
    return os.path.join(self._run_dir, name)

  def _show_line(self, name: str, line: str) -> None:
    if last_words.are_in(line) and not self._restarts:
      return  # The demo ends with the reason.
    if text := log_lines.shown(line):
      self._console.line(text, name)

  def _start(self, processes: RestartingProcesses) -> None:
    environment = run_environment(self._run_dir)
    stream_flags = self._stream.model_flags(self._group) if self._stream else []
    servers = [task.name for task in self._tasks if task.role == "ps"]
    for task in self._tasks:
      arguments = ["train", *self.model_flags(), *stream_flags]
      if task.name in self._progress_files:
        arguments.append(f"--progress_file={self._progress_files[task.name]}")
        if port := demo_ports.metrics_port(task.index):
          arguments.append(f"--metrics_port={port}")
      if self._restarts or self._stream:
        arguments.append(f"--save_checkpoints_secs={_SAVE_SECONDS}")
      processes.start(
        task.name,
        _python(*arguments),
        {**environment, "TF_CONFIG": task.tf_config},
        self._restarts,
        needs=servers if task.name == _CHIEF else (),
      )
    evaluation = _python(
      "evaluate_held_out",
      *self.model_flags(),
      f"--wait_for={self._path('evaluate_now')}",
      f"--output={self._path('metrics.json')}",
    )
    processes.start(_EVALUATION, evaluation, environment, restarts=False)

  def model_flags(self) -> list[str]:
    """What describes the model to the programs of this folder."""
    return [
      f"--model_dir={self._model_dir}",
      f"--dataset={demo_flags.DATASET.value}",
      f"--ratings_dir={self._ratings_dir}",
      f"--num_ratings={demo_flags.NUM_RATINGS.value}",
      f"--epochs={demo_flags.epochs()}",
      f"--batch_size={demo_flags.batch_size()}",
      f"--seed={demo_flags.SEED.value}",
    ]

  def _wait_for_training(self, processes: RestartingProcesses) -> None:
    """Returns when the workers have ended well."""
    if self._restarts:
      # Whoever fails when the chief has left would wait for servers that leave, too.
      self._wait_for(processes, [_CHIEF])
      processes.end_restarts()
      self._let_leave(processes, "worker")
    else:
      self._wait_for(processes, list(self._progress_files))

  def _wait_for(self, processes: RestartingProcesses, names: Sequence[str]) -> None:
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

  def _poll(self, processes: RestartingProcesses) -> None:
    self._check_signals()
    processes.check()
    if self._stream:
      self._stream.check()
    if time.monotonic() >= self._next_memory_look:
      self._next_memory_look = time.monotonic() + 1
      processes.peak_memory_bytes()
    time.sleep(_POLL_SECONDS)

  def _check_signals(self) -> None:
    try:
      self._signals.check()
    except Stopped:
      # Ctrl-C comes to whoever reads, too; saving does not depend on that.
      with contextlib.suppress(BrokenPipeError):
        self._console.line("stopping when all is saved; to stop at once, do so again")
      raise

  def _let_leave(self, processes: RestartingProcesses, role: str) -> None:
    """The chief told them to; one that stays is ended."""
    deadline = time.monotonic() + _EXIT_SECONDS
    names = {task.name for task in self._tasks if task.role == role}
    while names & set(processes.running()) and time.monotonic() < deadline:
      self._poll(processes)
    staying = sorted(names & set(processes.running()))
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
    if self._stream and progress.mean_loss is not None:
      # Squared errors, each from before the example was trained on.
      parts.append(f"progressive RMSE {math.sqrt(progress.mean_loss):.4f}")
      parts.append(f"lag {progress.lag:,}")
    return ", ".join(parts)

  def _ratings_info(self) -> dict:
    """What is known of the prepared ratings: nothing before they are."""
    try:
      with open(os.path.join(self._ratings_dir, "ratings.json")) as file:
        return json.load(file)
    except OSError:
      return {}

  def _expected_examples(self) -> int:
    """About how many examples training will see; 0 where that is not known."""
    if self._stream and not self._stream.is_own:
      return 0  # Whatever others send.
    if demo_flags.DATASET.value == "synthetic":
      return demo_flags.expected_examples()
    return self._ratings_info().get("train", 0) * demo_flags.epochs()

  def _result(
    self, training: JobProgress, processes: RestartingProcesses
  ) -> DemoResult:
    with open(self._path("metrics.json")) as file:
      metrics = json.load(file)
    return DemoResult(
      training_type=demo_flags.TRAINING_TYPE.value,
      dataset=self._ratings_info().get("size", demo_flags.DATASET.value),
      requested_dataset=demo_flags.DATASET.value,
      examples=training.examples,
      examples_trained_again=training.examples_trained_again,
      restarts=processes.restarts,
      seconds=training.seconds,
      total_seconds=time.monotonic() - self._begin,
      examples_per_second=training.examples_per_second,
      test_rmse=metrics.get("rank/rmse", math.nan),
      stream=self._stream_result(training),
      tables=training.tables,
      table_bytes=training.table_bytes,
      peak_memory_bytes=processes.peak_memory_bytes(),
      model_dir=self._model_dir,
    )

  def _stream_result(self, training: JobProgress) -> StreamResult | None:
    if not self._stream:
      return None
    return StreamResult(
      topic="" if self._stream.is_own else demo_flags.TOPIC.value,
      progressive_rmse=math.sqrt(training.mean_loss),
      lag=training.lag,
      bad_messages=training.bad_messages,
      sent=self._sent,
      to_send=None if self._sent is None else self._expected_examples(),
    )


def _python(module: str, *arguments: str) -> list[str]:
  return [sys.executable, "-m", f"{_PACKAGE}.{module}", *arguments]
