"""The demo's stream of ratings: a topic of the user's cluster, or of its own broker."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from monolith.native_training.data import kafka_topics
from monolith.native_training.data.kafka import kafka_settings, topic_patterns
from monolith.native_training.data.kafka.consumer_group import ConsumerGroup
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.local_runner.restarts import RestartingProcesses
from monolith.native_training.movie_ranking.demo import demo_flags
from monolith.native_training.movie_ranking.demo.run_environment import run_environment

PRODUCER = "producer"
_PROGRAM = ("-m", "monolith.native_training.movie_ranking.kafka_producer")
_POLL_SECONDS = 0.1
# For checking settings: nobody joins it, nor asks there.
_ANY_GROUP = "movie-ranking"
_NO_SERVER = "127.0.0.1:1"


def check_topic() -> None:
  """Checks the topic's name, which may be a pattern where the brokers are the user's.

  Raises:
    ValueError: there can be no such topic.
  """
  if not demo_flags.is_stream():
    return
  if demo_flags.KAFKA_SERVERS.value:
    topic_patterns.check(demo_flags.TOPIC.value, "--topic")
  else:
    topic_patterns.check_name(demo_flags.TOPIC.value, "--topic")


def check_configuration() -> None:
  """Checks that the settings of librdkafka can be handed on, and that it takes them.

  Raises:
    ValueError: one cannot.
  """
  if not demo_flags.is_stream():
    return
  for setting in demo_flags.KAFKA_CONFIGURATION.value:
    key, _, value = setting.partition("=")
    if len(setting.strip().splitlines()) > 1:
      raise ValueError(
        f"--kafka_configuration={setting.split()[0].partition('=')[0]}=... has several "
        "lines; where librdkafka allows that, another setting names a file instead, "
        "such as ssl.ca.location"
      )
    if value != value.rstrip():
      raise ValueError(
        f"--kafka_configuration={key.strip()}=... ends with a blank, which does not "
        "come to the processes that train: their settings are lines of a --flagfile"
      )
  try:
    settings = _settings()
    if not demo_flags.KAFKA_SERVERS.value:
      _check_own_broker(settings)
    # The processes that train make one too, and would be refused the same.
    group = ConsumerGroup(
      [demo_flags.TOPIC.value],
      _ANY_GROUP,
      demo_flags.KAFKA_SERVERS.value or _NO_SERVER,
      demo_flags.KAFKA_CONFIGURATION.value,
    )
    group.check_members(demo_flags.NUM_WORKERS.value)
  except ValueError as error:
    message = str(error).removeprefix("configuration: ")
    if message == str(error):
      raise
    raise ValueError(f"--kafka_configuration: {message}") from None


def _settings() -> dict[str, str]:
  return kafka_settings.parse(
    demo_flags.KAFKA_CONFIGURATION.value,
    {"bootstrap.servers": "it is --kafka_servers", "group.id": "it is --group"},
  )


def _check_own_broker(settings: Mapping[str, str]) -> None:
  protocol = settings.get("security.protocol", "plaintext")
  if protocol.lower() != "plaintext":
    raise ValueError(
      f"--kafka_configuration=security.protocol={protocol} is for --kafka_servers: the "
      "demo's own broker listens on this machine only, without encryption and logins"
    )


def check_cluster() -> None:
  """Checks that the user's brokers answer, where the user has any.

  Raises:
    ValueError: they do not.
  """
  if not demo_flags.KAFKA_SERVERS.value:
    return
  try:
    kafka_topics.check(demo_flags.KAFKA_SERVERS.value, _settings())
  except RuntimeError as error:
    raise ValueError(
      f"--kafka_servers={demo_flags.KAFKA_SERVERS.value}: {error}. Without the flag "
      "the demo starts a broker of its own"
    ) from None


class RatingStream(contextlib.AbstractContextManager):
  """The stream that a run of the demo trains on.

  With `--kafka_servers` the topic is the user's. Without, the context starts a broker,
  and `start_producer` what sends the ratings to it.

  Args:
    run_dir: folder for what there is as long as the run lasts: the broker's data, how
      far the producer is, and settings.
    log_dir: folder of the broker's log, which the user keeps.
    check: called again and again while the broker starts; ends that by what it raises.

  Attributes:
    servers: the brokers.
    is_own: whether this demo runs them.

  Raises:
    BrokerFailed: on entering, the broker cannot run.
  """

  def __init__(self, run_dir: str, log_dir: str, check: Callable[[], object]):
    self.servers = demo_flags.KAFKA_SERVERS.value
    self.is_own = not self.servers
    self._run_dir = run_dir
    self._broker = None
    if self.is_own:
      data_dir = os.path.join(run_dir, "kafka")
      self._broker = LocalBroker(data_dir=data_dir, check=check, log_dir=log_dir)
    self._producer_file = os.path.join(run_dir, "producer.json")
    self._settings_file = os.path.join(run_dir, "kafka.flags")

  def __enter__(self) -> RatingStream:
    if not self._broker:
      return self
    self._broker.__enter__()
    self.servers = self._broker.bootstrap_servers
    return self

  def __exit__(self, *exception) -> None:
    if self._broker:
      self._broker.__exit__(*exception)

  def start_producer(
    self, processes: RestartingProcesses, poll: Callable[[], None]
  ) -> None:
    """Starts to send, and returns when the first ratings are sent: preparing them may
    take longer than the stream may be silent.

    Args:
      poll: called again and again; ends waiting by what it raises.
    """
    if not self.is_own:
      return
    command = [
      sys.executable,
      *_PROGRAM,
      f"--servers={self.servers}",
      f"--topic={demo_flags.TOPIC.value}",
      f"--partitions={demo_flags.PARTITIONS.value}",
      f"--dataset={demo_flags.DATASET.value}",
      f"--passes={demo_flags.epochs()}",
      f"--rate={demo_flags.RATE.value}",
      f"--progress_file={self._producer_file}",
    ]
    environment = run_environment(self._run_dir)
    processes.start(PRODUCER, command, environment, restarts=False)
    while not self.sent():
      poll()
      time.sleep(_POLL_SECONDS)

  def check(self) -> None:
    """Raises:
    BrokerFailed: the broker has ended.
    """
    if self._broker:
      self._broker.check()

  def sent(self) -> int:
    """How many ratings the producer has sent."""
    try:
      with open(self._producer_file) as file:
        return json.load(file)["sent"]
    except FileNotFoundError:
      return 0

  def model_flags(self, group: str) -> Sequence[str]:
    """For the processes that train, in this consumer group.

    Settings may be passwords, which everybody sees in a command line: they go into a
    file.
    """
    settings = demo_flags.KAFKA_CONFIGURATION.value
    with open(self._settings_file, "w", opener=_open_private) as file:
      file.writelines(f"--kafka_configuration={s}\n" for s in settings)
    return [
      f"--kafka_servers={self.servers}",
      f"--topic={demo_flags.TOPIC.value}",
      f"--group={group}",
      f"--stream_timeout={demo_flags.STREAM_TIMEOUT.value}",
      f"--max_bad_message_ratio={demo_flags.MAX_BAD_MESSAGE_RATIO.value}",
      f"--flagfile={self._settings_file}",
    ]


def _open_private(path: str, mode: int) -> int:
  """Opens a file that only this user may read."""
  return os.open(path, mode, 0o600)
