"""Sends MovieLens ratings to a Kafka topic, in the order in which they were given.

The exit code is 0 where all are delivered, 1 where some are not, or nobody reads what
it prints, and 128 + the signal's number where a signal ended it: Ctrl-C, for example,
ends --loop. What is under way then is still delivered; a second one ends that, too.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import tqdm
from absl import app, flags

from monolith.native_training.data import kafka_topics
from monolith.native_training.data.kafka import kafka_settings, topic_patterns
from monolith.native_training.local_files import closed_pipe, whole_file
from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals
from monolith.native_training.movie_ranking import result_file
from monolith.native_training.movie_ranking.delivery_errors import DeliveryErrors
from monolith.native_training.number_checks import is_finite

if TYPE_CHECKING:  # It imports TensorFlow.
  from monolith.native_training.movie_ranking.rating_producer import RatingProducer

_SERVERS = flags.DEFINE_string(
  "servers", "127.0.0.1:9092", 'Brokers, "host:port", several with commas between.'
)
_TOPIC = flags.DEFINE_string("topic", "movie-ratings", "Where to send them.")
_PARTITIONS = flags.DEFINE_integer(
  "partitions", 8, "Of the topic, which is made if it is not there.", 1
)
_DATASET = flags.DEFINE_enum(
  "dataset", "100k", ["100k", "1m", "25m"], "MovieLens data set."
)
_RATE = flags.DEFINE_float(
  "rate", 0, "Messages a second, as live traffic has; 0: as fast as can be.", 0
)
_PASSES = flags.DEFINE_integer("passes", 1, "How often each is sent.", 1)
_LOOP = flags.DEFINE_bool("loop", False, "Send them again and again, until Ctrl-C.")
_HELD_OUT = flags.DEFINE_bool(
  "held_out", False, "Send those too that the demo's evaluation keeps for itself."
)
_MAX_MESSAGES = flags.DEFINE_integer(
  "max_messages", None, "Stop after so many; all, where not given.", 1
)
_PROGRESS_FILE = flags.DEFINE_string(
  "progress_file", "", "Write here, as JSON, how many are sent, about once a second."
)
_CONFIGURATION = flags.DEFINE_multi_string(
  "configuration", [], 'A setting of librdkafka, "key=value"; may be repeated.'
)

_WRITE_SECS = 1.0
_RETRY_SECS = 60.0  # Where the file cannot be written.
_SLEEP_SECS = 0.002  # The shortest.


def _say(line: str) -> None:
  """Writes a line above the progress bar."""
  tqdm.tqdm.write(f"kafka_producer: {line}", file=sys.stderr)


def _paced(producer: RatingProducer, count: int | None, rate: float) -> Iterator[int]:
  """Numbers from 0 on, up to `count`, so many a second."""
  begin = time.monotonic()
  number = 0
  while count is None or number < count:
    if rate:
      early = number / rate - (time.monotonic() - begin)
      if early > _SLEEP_SECS:
        producer.wait(early)
    yield number
    number += 1


def _write_progress(sent: int) -> float:
  """Ratings matter more than the file: where it cannot be written, that is said.

  Returns:
    In how many seconds to write again.
  """
  path = user_path(_PROGRESS_FILE.value)
  if not path:
    return math.inf
  try:
    whole_file.write_text(path, json.dumps({"sent": sent}))
  except OSError as error:
    _say(f"--progress_file: {error}")
    return _RETRY_SECS
  return _WRITE_SECS


def _send(table, producer: RatingProducer) -> None:
  """Sends what the flags say."""
  available = len(table["label"])
  count = None if _LOOP.value else available * _PASSES.value
  if _MAX_MESSAGES.value:
    count = min(_MAX_MESSAGES.value, count or _MAX_MESSAGES.value)
  with tqdm.tqdm(total=count, unit=" messages", disable=None) as bar:
    write_at = 0.0
    for i in _paced(producer, count, _RATE.value):
      row = i % available
      producer.send(table["uid"][row], table["mov"][row], table["label"][row])
      bar.update()
      if time.monotonic() >= write_at:
        write_at = time.monotonic() + _write_progress(i + 1)


def _check_flags() -> None:
  """Raises:
  ValueError: the flags make no sense.
  """
  if _LOOP.value and _PASSES.present:
    raise ValueError("--passes has no effect with --loop, which sends without end")
  if not is_finite(_RATE.value):
    raise ValueError(f"--rate={_RATE.value} is no number of messages a second")
  topic_patterns.check_name(_TOPIC.value, "--topic")
  result_file.prepare(user_path(_PROGRESS_FILE.value), "--progress_file")


@closed_pipe.ends_quietly
def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  # Until ratings are sent there is nothing to bring to an end.
  signal.signal(signal.SIGINT, signal.SIG_DFL)
  try:
    _check_flags()
  except ValueError as error:
    sys.exit(f"kafka_producer: {error}")
  # Here, because TensorFlow takes long to import.
  from monolith.native_training.movie_ranking import rating_producer, timed_ratings

  signals = StopSignals()
  errors = DeliveryErrors(_say)
  try:
    producer = rating_producer.RatingProducer(
      _SERVERS.value, _TOPIC.value, _CONFIGURATION.value, errors, signals.check
    )
    settings = kafka_settings.parse(_CONFIGURATION.value)
    kafka_topics.ensure(_SERVERS.value, _TOPIC.value, _PARTITIONS.value, settings)
  except (ValueError, RuntimeError) as error:
    sys.exit(f"kafka_producer: {error}")
  table = timed_ratings.ratings_by_time(_DATASET.value, _HELD_OUT.value)
  code = 0
  with signals:
    try:
      try:
        _send(table, producer)
      except rating_producer.ProducerFailed as error:
        code = 1
        _say(str(error))
      producer.finish()
    except Stopped as stop:
      code = 128 + stop.signum
      producer.finish(is_urgent=stop.is_urgent)
  _write_progress(producer.delivered)
  for reason, number in errors.counts.most_common():
    print(f"{number:,} were not delivered: {reason}", file=sys.stderr)
  print(f"{producer.delivered:,} ratings are in {_TOPIC.value}", flush=True)
  sys.exit(1 if errors.counts else code)


if __name__ == "__main__":
  app.run(main)
