"""One round: a job of real processes on a stream, what is killed, and how it ends."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections.abc import Callable

import confluent_kafka
from confluent_kafka import TopicPartition, admin

from monolith.native_training.fault_rounds.round_job import CHIEF, RoundJob
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.restarts import RestartingProcesses
from monolith.native_training.stream_delivery import asked, kill_plan
from monolith.native_training.stream_delivery.sender import Sender
from monolith.native_training.stream_delivery.trained_examples import TrainedExamples

_JOB = "monolith.native_training.stream_delivery.job"
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
    uncovered: messages that had been sent when a server was killed, without those that
      the newest complete checkpoint covered; 0 where another process was.
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
  uncovered: int = 0
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
    covered: how many messages the newest checkpoint of a model's folder covers.
    folder: new; gets the model, all logs and a log of restarts. The topic has its name.
    limit_seconds: after that the round is ended.
    check: called often; what it raises ends the round.
  """

  def __init__(
    self,
    kill: kill_plan.Kill,
    broker: LocalBroker,
    message: Callable[[int], bytes],
    covered: Callable[[str], int],
    folder: str,
    limit_seconds: float,
    check: Callable[[], None] = lambda: None,
  ):
    self._outcome = Outcome(kill, folder, os.path.basename(folder))
    self._broker = broker
    self._covered = covered
    self._job = RoundJob(
      _JOB, folder, asked.SERVERS, asked.WORKERS, limit_seconds, check
    )
    self._trained = [TrainedExamples(path) for path in self._job.progress_files]
    self._client = {"bootstrap.servers": broker.bootstrap_servers}
    self._sender = Sender(
      broker.bootstrap_servers,
      self._outcome.topic,
      asked.PARTITIONS,
      message,
      asked.MESSAGES,
      asked.RATE,
    )

  def _make_topic(self) -> None:
    """With a client that is gone when the broker is."""
    topic = admin.NewTopic(self._outcome.topic, asked.PARTITIONS, 1)
    client = admin.AdminClient(self._client)
    client.create_topics([topic])[topic.topic].result(_ASK_SECONDS)

  def run(self) -> Outcome:
    """Runs it to its end, or until it is given up."""
    outcome, sender = self._outcome, self._sender
    self._make_topic()
    end = None
    try:
      end = self._job.run(self._flags(), self._watch)
    finally:
      if sender.ident is not None:
        sender.join() if end and not end.failure else sender.stop()
    self._read_progress()
    outcome.failure = end.failure or sender.problem
    outcome.exit_codes = end.exit_codes
    outcome.restarts += sum(end.restarts.values())
    outcome.seconds = end.seconds
    outcome.acknowledged = sender.acknowledged
    self._read_logs()
    self._read_offsets()
    return outcome

  def _watch(self, processes: RestartingProcesses) -> None:
    self._read_progress()
    sender = self._sender
    if sender.ident is None:
      if all(trained.has_begun for trained in self._trained):
        sender.start()
    elif sender.began_at is not None and not self._outcome.struck:
      if time.monotonic() - sender.began_at >= self._outcome.kill.after_secs:
        self._strike(processes)

  def _strike(self, processes: RestartingProcesses) -> None:
    outcome, kill = self._outcome, self._outcome.kill
    if kill.victim == kill_plan.BROKER:
      outcome.struck = "broker"
      self._job.tell(f"killing the broker for {kill.outage_secs:.1f} s and its start")
      self._broker.kill()
      time.sleep(kill.outage_secs)
      self._broker.restart()
      self._job.tell("the broker is back")
      outcome.restarts += 1
      return
    name = {
      kill_plan.WORKER: f"worker {asked.WORKERS - 1}",
      kill_plan.CHIEF: CHIEF,
      kill_plan.SERVER: f"ps {kill.server}",
    }[kill.victim]
    if processes.kill(name):
      outcome.struck = name
      if kill.victim == kill_plan.SERVER:
        sent = self._sender.sent
        outcome.uncovered = sent - self._covered(outcome.model_dir)

  def _read_progress(self) -> None:
    for trained in self._trained:
      trained.read()
    self._outcome.trained = sum(trained.total for trained in self._trained)

  def _read_logs(self) -> None:
    for name in sorted(os.listdir(self._job.logs)):
      with open(os.path.join(self._job.logs, name), errors="replace") as file:
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

  def _flags(self) -> list[str]:
    return [
      f"--servers={self._broker.bootstrap_servers}",
      f"--topic={self._outcome.topic}",
      f"--timeout={round(asked.STREAM_TIMEOUT_SECS * 1000)}",
      f"--save_checkpoints_secs={asked.SAVE_SECS}",
    ]
