"""Nanoseconds to check and parse an example, beside parsing it alone.

    bazel run //monolith/native_training/data:example_parsing_benchmark

Batches of 1,024 messages with three features, as the movie-ranking model's, through
`Dataset.map`; the ways are measured one after the other, several times.
"""

import time

import numpy as np
import tensorflow as tf
from absl import app, flags

from monolith.native_training.data.bad_messages import BadMessages
from monolith.native_training.data.example_parsing import decode_example, serialize_one
from monolith.native_training.data.kafka.kafka_messages import KafkaMessages

_BATCHES = flags.DEFINE_integer("batches", 2000, "Batches a measurement.")
_REPEATS = flags.DEFINE_integer("repeats", 7, "Measurements; their median is shown.")

_BATCH = 1024
_FEATURES = {
  "mov": tf.io.RaggedFeature(tf.int64),
  "uid": tf.io.RaggedFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}


def _messages(bad_share: float) -> np.ndarray:
  random = np.random.default_rng(1)
  ids = random.integers(2**63 - 1, size=[_BATCH, 2])
  messages = [
    serialize_one({"mov": [mov], "uid": [uid], "label": 4.5}) for mov, uid in ids
  ]
  for i in np.flatnonzero(random.random(_BATCH) < bad_share):
    messages[i] = b"garbage"
  return np.array(messages, object)


def _from_kafka(messages: np.ndarray) -> KafkaMessages:
  numbers = np.arange(len(messages))
  return KafkaMessages(
    message=messages,
    topic=np.full(len(messages), b"clicks", object),
    partition=numbers.astype(np.int32),
    offset=numbers,
    timestamp=numbers,
    position=numbers,
  )


def _nanoseconds(element, parse) -> float:
  """The time an example takes, beyond that of a dataset that only repeats it."""
  source = tf.data.Dataset.from_tensors(element).repeat(_BATCHES.value)
  seconds = []
  for dataset in (source, source.map(parse)):
    begin = time.perf_counter()
    dataset.reduce(np.int64(0), lambda count, _: count + 1)
    seconds.append(time.perf_counter() - begin)
  return 1e9 * (seconds[1] - seconds[0]) / _BATCHES.value / _BATCH


def main(unused_argv) -> None:
  good, one_percent = _messages(0), _messages(0.01)
  bad = BadMessages(1)
  ways = {
    "tf.io.parse_example": (good, lambda x: tf.io.parse_example(x, _FEATURES)),
    "decode_example": (good, lambda x: decode_example(x, _FEATURES, bad)),
    "decode_example of KafkaMessages": (
      _from_kafka(good),
      lambda x: decode_example(x, _FEATURES, bad),
    ),
    "... 1 % of them bad": (
      _from_kafka(one_percent),
      lambda x: decode_example(x, _FEATURES, bad),
    ),
  }
  measured = {name: [] for name in ways}
  for _ in range(_REPEATS.value):
    for name, way in ways.items():
      measured[name].append(_nanoseconds(*way))
  for name, values in measured.items():
    low, median, high = np.percentile(values, [0, 50, 100])
    print(f"{name:34} {median:6.0f} ns an example ({low:.0f} to {high:.0f})")


if __name__ == "__main__":
  app.run(main)
