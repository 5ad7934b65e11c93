"""Sends MovieLens ratings to a Kafka topic, in the order in which they were given."""

import collections
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import numpy as np
import tensorflow as tf
import tqdm
from absl import app, flags

from monolith.native_training.data import kafka_settings, kafka_topics
from monolith.native_training.data.example_values import serialize_one
from monolith.native_training.movie_ranking import rating_split, ratings

_SERVERS = flags.DEFINE_string(
  "servers", "127.0.0.1:9092", 'Brokers, "host:port", several with commas between.'
)
_TOPIC = flags.DEFINE_string("topic", "movie-ratings", "Where to send them.")
_PARTITIONS = flags.DEFINE_integer(
  "partitions", 8, "Of the topic, which is made if it is not there.", 1
)
_DATASET = flags.DEFINE_enum("dataset", "100k", ratings.SIZES, "MovieLens data set.")
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

_DEFAULTS = {
  "acks": "all",
  "compression.type": "lz4",
  "enable.idempotence": "true",
  "linger.ms": "20",
}
_FULL_QUEUE_SECS = 0.1
_LAST_SECS = 30.0
_WRITE_SECS = 1.0


def ratings_by_time(size: str, held_out: bool) -> dict[str, np.ndarray]:
  """Ratings in the order of their timestamps.

  Args:
    size: `100k`, `1m` or `25m`.
    held_out: whether those that evaluation keeps for itself are among them.

  Returns:
    `mov`, `uid`: int64 `[n]`; `label`: float32 `[n]`; `timestamp`: int64 `[n]`, seconds
    since the epoch, rising.
  """
  columns = collections.defaultdict(list)
  for batch in ratings.load_rating_batches(size).batches:
    row = {**ratings.hash_ids(batch), "timestamp": batch["timestamp"]}
    for name, values in row.items():
      columns[name].append(tf.reshape(values, [-1]).numpy())
  table = {name: np.concatenate(parts) for name, parts in columns.items()}
  if not held_out:
    kept = ~rating_split.is_held_out(table["uid"], table["mov"])
    table = {name: column[kept] for name, column in table.items()}
  order = np.argsort(table["timestamp"], kind="stable")
  return {name: column[order] for name, column in table.items()}


class RatingProducer:
  """Sends ratings as serialized `tf.train.Example`s, keyed by user.

  Args:
    servers: brokers, "host:port".
    topic: where to send them.
    configuration: settings of librdkafka, "key=value".

  Attributes:
    delivered: how many a broker has acknowledged.
    errors: how many could not be delivered, by reason.

  Raises:
    ValueError: a setting that librdkafka does not know.
  """

  def __init__(self, servers: str, topic: str, configuration=()):
    fixed = {"bootstrap.servers": "it is --servers"}
    settings = {**_DEFAULTS, **kafka_settings.parse(configuration, fixed)}
    try:
      self._producer = confluent_kafka.Producer(
        {**settings, "bootstrap.servers": servers}, logger=kafka_settings.Silent()
      )
    except confluent_kafka.KafkaException as error:
      raise ValueError(f"configuration: {error.args[0].str()}") from None
    self._topic = topic
    self.delivered = 0
    self.errors: collections.Counter[str] = collections.Counter()

  def send(self, user: int, movie: int, stars: float) -> None:
    """Sends one rating; waits only while too many are under way."""
    value = serialize_one({"mov": [movie], "uid": [user], "label": [stars]})
    while True:
      try:
        self._producer.produce(
          self._topic, value, key=str(user), on_delivery=self._on_delivery
        )
        break
      except BufferError:
        self._producer.poll(_FULL_QUEUE_SECS)
    self._producer.poll(0)

  def finish(self, secs: float = _LAST_SECS) -> None:
    """Waits for what is under way; what is not delivered by then counts as an error."""
    left = self._producer.flush(secs)
    if left:
      self.errors[f"not acknowledged within {secs:.0f} s"] += left

  def _on_delivery(self, error: Any, unused_message: Any) -> None:
    if error is None:
      self.delivered += 1
    else:
      self.errors[error.str()] += 1


def _paced(count: int | None, rate: float) -> Iterator[int]:
  """Numbers from 0 on, up to `count`, so many a second."""
  begin = time.monotonic()
  number = 0
  while count is None or number < count:
    if rate:
      early = number / rate - (time.monotonic() - begin)
      if early > 0.002:
        time.sleep(early)
    yield number
    number += 1


def _write_progress(sent: int) -> None:
  path = _PROGRESS_FILE.value
  if not path:
    return
  with open(f"{path}.tmp", "w") as file:
    json.dump({"sent": sent}, file)
  os.replace(f"{path}.tmp", path)


def main(_):
  # Ends the loop below in order; SIGINT does so by itself.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    producer = RatingProducer(_SERVERS.value, _TOPIC.value, _CONFIGURATION.value)
    settings = kafka_settings.parse(_CONFIGURATION.value)
    kafka_topics.ensure(_SERVERS.value, _TOPIC.value, _PARTITIONS.value, settings)
  except (ValueError, RuntimeError) as error:
    sys.exit(f"kafka_producer: {error}")
  table = ratings_by_time(_DATASET.value, _HELD_OUT.value)
  available = len(table["label"])
  count = None if _LOOP.value else available * _PASSES.value
  if _MAX_MESSAGES.value:
    count = min(_MAX_MESSAGES.value, count or _MAX_MESSAGES.value)
  stopped = False
  try:
    with tqdm.tqdm(total=count, unit=" messages", disable=None) as bar:
      write_at = 0.0
      for i in _paced(count, _RATE.value):
        row = i % available
        producer.send(table["uid"][row], table["mov"][row], table["label"][row])
        bar.update()
        if time.monotonic() >= write_at:
          write_at = time.monotonic() + _WRITE_SECS
          _write_progress(i + 1)
  except KeyboardInterrupt:
    stopped = True
  producer.finish()
  _write_progress(producer.delivered)
  print(f"{producer.delivered:,} ratings are in {_TOPIC.value}", flush=True)
  for reason, number in producer.errors.most_common():
    print(f"{number:,} were not delivered: {reason}", file=sys.stderr)
  if producer.errors:
    sys.exit(1)
  if stopped:
    sys.exit(130)


if __name__ == "__main__":
  app.run(main)
