"""Reads a topic to its end in one way, and prints how fast that was, as JSON.

A process for each leg of `kafka_benchmark`: TensorFlow is imported only where it is
used, since that alone makes Python slower at making objects.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence

import confluent_kafka
from absl import app, flags

_SERVERS = flags.DEFINE_string("servers", None, "Brokers.", required=True)
_TOPIC = flags.DEFINE_string("topic", None, "What to read.", required=True)
_MESSAGES = flags.DEFINE_integer(
  "messages", None, "How many it has.", lower_bound=1, required=True
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1024, "The dataset's.", lower_bound=1)
_READER = flags.DEFINE_enum(
  "reader",
  None,
  ["bare", "eager", "graph"],
  "The client, or the dataset eagerly or in a graph.",
  required=True,
)

_CONSUME = 10000
# With which the bare client is fastest.
_FAST = {
  "auto.offset.reset": "earliest",
  "enable.auto.commit": "false",
  "fetch.message.max.bytes": str(4 << 20),
  "fetch.queue.backoff.ms": "20",
  "queued.min.messages": "100000",
}
_SILENCE_MS = 20000  # Ends a dataset whose topic is too short.


def main(argv: Sequence[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"arguments that are no flags: {' '.join(argv[1:])}")
  readers: dict[str, Callable[[], Iterator[int]]] = {
    "bare": _bare,
    "eager": _eager,
    "graph": _graph,
  }
  counts = readers[_READER.value]()
  # Joining the group is over when the first messages are there.
  first = count = next(counts)
  begin, cpu = time.monotonic(), time.process_time()
  while count < _MESSAGES.value:
    count += next(counts)
  seconds, cpu = time.monotonic() - begin, time.process_time() - cpu
  speed = {
    "per_second": (count - first) / seconds,
    "cpu_microseconds": 1e6 * cpu / (count - first),
  }
  print(json.dumps(speed), flush=True)


def _bare() -> Iterator[int]:
  """Numbers of messages that came together, without a look at any of them."""
  settings = {"bootstrap.servers": _SERVERS.value, "group.id": uuid.uuid4().hex}
  consumer = confluent_kafka.Consumer({**_FAST, **settings})
  consumer.subscribe([_TOPIC.value])
  while True:
    count = len(consumer.consume(_CONSUME, 0.1))
    if count:
      yield count


def _dataset():
  from monolith.native_training.data import datasets

  return datasets.create_plain_kafka_dataset(
    [_TOPIC.value],
    uuid.uuid4().hex,
    _SERVERS.value,
    stream_timeout=_SILENCE_MS,
    poll_batch_size=_BATCH_SIZE.value,
  )


def _eager() -> Iterator[int]:
  for messages in _dataset():
    yield len(messages.message)


def _graph() -> Iterator[int]:
  import tensorflow as tf

  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    iterator = tf.compat.v1.data.make_initializable_iterator(_dataset())
    count = tf.size(iterator.get_next().message)
    session.run(iterator.initializer)
    while True:
      yield int(session.run(count))


if __name__ == "__main__":
  app.run(main)
