"""One round: a job of real processes on a stream, what is killed, and how it ends."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import time
from collections.abc import Callable

import confluent_kafka
from confluent_kafka import TopicPartition, admin

from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.local_cluster import (
  Task,
  local_cluster,
  python_environment,
)
from monolith.native_training.local_runner.local_processes import ProcessFailed
from monolith.native_training.local_runner.restarts import (
  RestartingProcesses,
  RestartPolicy,
)
from monolith.native_training.stream_delivery import asked, kill_plan
from monolith.native_training.stream_delivery.sender import Sender
from monolith.native_training.stream_delivery.trained_examples import TrainedExamples

_JOB = "monolith.native_training.stream_delivery.job"
_POLICY = RestartPolicy(first_pause_seconds=0.5, longest_pause_seconds=4.0)
_POLL_SECONDS = 0.05
# Longer than a restart takes, and short enough for a job that cannot go on to end.
_SILENCE_SECONDS = 60
_ASK_SECONDS = 30
_SAVED = re.compile(r"\bsaved \S+ in (\d+\.\d+) s")


@dataclasses.dataclass
class Outcome:
  """How a round ended.

  Attributes:
    kill: what was to be killed.
    folder: of the round.
    topic: of the round, and its consumer group.
    struck: the process that was killed; `""` until then.
    failure: why the job did not end, or `""`.
    exit_codes: of each process; None where it had to be ended.
    restarts: of all processes together, the broker's included.
    acknowledged: messages that the broker has.
    ends: behind the last message of each partition.
    committed: of each partition, by the job's group.
    trained: examples that workers say to have trained on, all together.
    slowest_save_secs: of the checkpoints that the chief has told of.
    tracebacks: logs in which there is one.
    seconds: from the start to the last process's end.
  """

  kill: kill_plan.Kill
  folder: str
  topic: str
  struck: str = ""
  failure: str = ""
  exit_codes: dict[str, int | None] = dataclasses.field(default_factory=dict)
  restarts: int = 0
  acknowledged: int = 0
  ends: list[int] = dataclasses.field(default_factory=list)
  committed: list[int] = dataclasses.field(default_factory=list)
  trained: int = 0
  slowest_save_secs: float = 0.0
  tracebacks: list[str] = dataclasses.field(default_factory=list)
  seconds: float = 0.0

  @property
  def model_dir(self) -> str:
    return os.path.join(self.folder, "model")


class KillRound:
  """Runs a round in a folder and with a topic of its own; leaves no process behind.

  Args:
    kill: of the round.
    broker: which runs, and does again when the round is over.
    message: makes a message of its number.
    folder: new; gets the model, all logs and a log of restarts. The topic has its name.
    limit_seconds: after that the round is ended.
    check: called often; what it raises ends the round.
  """

  def __init__(
    self,
    kill: kill_plan.Kill,
    broker: LocalBroker,
    message: Callable[[int], bytes],
    folder: str,
    limit_seconds: float,
    check: Callable[[], None] = lambda: None,
  ):
    self._outcome = Outcome(kill, folder, os.path.basename(folder))
    self._broker = broker
    self._message = message
    self._limit_seconds = limit_seconds
    self._check = check
    self._tasks = local_cluster(asked.SERVERS, asked.WORKERS)
    self._trained = [
      TrainedExamples(self._progress_file(task))
      for task in self._tasks
      if task.role == "worker"
    ]
    self._client = {"bootstrap.servers": broker.bootstrap_servers}
    self._logs = os.path.join(folder, "logs")

  def run(self) -> Outcome:
    """Runs it to its end, or until it is given up."""
    outcome = self._outcome
    for folder in (self._logs, outcome.model_dir):
      os.makedirs(folder)
    topic = admin.NewTopic(outcome.topic, asked.PARTITIONS, 1)
    client = admin.AdminClient(self._client)
    client.create_topics([topic])[outcome.topic].result(_ASK_SECONDS)
    begin = time.monotonic()
    ignore = lambda name, line: None  # noqa: E731  # Logs have it.
    sender = Sender(
      self._broker.bootstrap_servers,
      outcome.topic,
      asked.PARTITIONS,
      self._message,
      asked.MESSAGES,
      asked.RATE,
    )
    with RestartingProcesses(ignore, self._logs, self._tell, _POLICY) as processes:
      environment = python_environment()
      for task in self._tasks:
        processes.start(
          task.name, self._command(task), {**environment, "TF_CONFIG": task.tf_config}
        )
      try:
        self._watch(processes, sender, begin + self._limit_seconds)
      except ProcessFailed as failure:
        outcome.failure = str(failure)
      finally:
        if sender.began_at is not None:
          sender.stop() if outcome.failure else sender.join()
      outcome.exit_codes = processes.exit_codes()
      outcome.restarts += sum(processes.restarts.values())
    outcome.seconds = time.monotonic() - begin
    outcome.acknowledged = sender.acknowledged
    outcome.failure = outcome.failure or sender.problem
    self._read_logs()
    self._read_offsets()
    return outcome

  def _watch(
    self, processes: RestartingProcesses, sender: Sender, give_up: float
  ) -> None:
    outcome = self._outcome
    while processes.running():
      self._check()
      self._read_progress()
      if sender.began_at is None:
        if all(trained.has_begun for trained in self._trained):
          sender.start()
      elif not outcome.struck:
        if time.monotonic() - sender.began_at >= outcome.kill.after_secs:
          self._strike(processes)
      processes.check()
      if processes.exit_codes()["worker 0"] == 0:
        processes.end_restarts()  # The job is over; nobody is needed any more.
      if time.monotonic() > give_up:
        staying = ", ".join(processes.running())
        outcome.failure = f"not over after {self._limit_seconds:.0f} s: {staying}"
        return
      time.sleep(_POLL_SECONDS)
    self._read_progress()

  def _strike(self, processes: RestartingProcesses) -> None:
    outcome, kill = self._outcome, self._outcome.kill
    if kill.victim == kill_plan.BROKER:
      outcome.struck = "broker"
      self._tell(f"killing the broker for {kill.outage_secs:.1f} s and its start")
      self._broker.kill()
      time.sleep(kill.outage_secs)
      self._broker.restart()
      self._tell("the broker is back")
      outcome.restarts += 1
      return
    name = {
      kill_plan.WORKER: f"worker {asked.WORKERS - 1}",
      kill_plan.CHIEF: "worker 0",
      kill_plan.SERVER: f"ps {kill.server}",
    }[kill.victim]
    if processes.kill(name):
      outcome.struck = name

  def _read_progress(self) -> None:
    for trained in self._trained:
      trained.read()
    self._outcome.trained = sum(trained.total for trained in self._trained)

  def _read_logs(self) -> None:
    for name in sorted(os.listdir(self._logs)):
      with open(os.path.join(self._logs, name), errors="replace") as file:
        text = file.read()
      if "Traceback (most recent call last)" in text:
        self._outcome.tracebacks.append(name)
      saves = [float(secs) for secs in _SAVED.findall(text)]
      self._outcome.slowest_save_secs = max(self._outcome.slowest_save_secs, *saves, 0)

  def _read_offsets(self) -> None:
    topic = self._outcome.topic
    consumer = confluent_kafka.Consumer({**self._client, "group.id": topic})
    try:
      partitions = [TopicPartition(topic, i) for i in range(asked.PARTITIONS)]
      for partition in consumer.committed(partitions, timeout=_ASK_SECONDS):
        _, end = consumer.get_watermark_offsets(partition, timeout=_ASK_SECONDS)
        self._outcome.ends.append(end)
        self._outcome.committed.append(max(partition.offset, 0))
    finally:
      consumer.close()

  def _tell(self, sentence: str) -> None:
    with open(os.path.join(self._outcome.folder, "restarts.log"), "a") as file:
      file.write(f"{time.strftime('%H:%M:%S')} {sentence}\n")

  def _progress_file(self, task: Task) -> str:
    return os.path.join(self._outcome.folder, f"{task.role}-{task.index}.json")

  def _command(self, task: Task) -> list[str]:
    return [
      sys.executable,
      "-m",
      _JOB,
      f"--model_dir={self._outcome.model_dir}",
      f"--servers={self._broker.bootstrap_servers}",
      f"--topic={self._outcome.topic}",
      f"--timeout={round(asked.STREAM_TIMEOUT_SECS * 1000)}",
      f"--save_checkpoints_secs={asked.SAVE_SECS}",
      f"--worker_timeout_secs={_SILENCE_SECONDS}",
      f"--progress_file={self._progress_file(task)}",
    ]
