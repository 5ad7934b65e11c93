"""Messages that are `tf.train.Example`s: writing one, and parsing batches of them.

>>> features = {"mov": tf.io.RaggedFeature(tf.int64)}
>>> message = serialize_one({"mov": [7, 9]})
>>> decode_example(tf.constant([message, b"garbage"]), features)["mov"]
<tf.RaggedTensor [[7, 9]]>
"""

import itertools
import threading
import weakref
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from absl import logging

from monolith.native_training.data.bad_messages import (
  BadMessage,
  BadMessages,
  TooManyBadMessages,
)
from monolith.native_training.data.example_values import serialize_one
from monolith.native_training.data.feature_specs import Feature, FeatureLayout
from monolith.native_training.data.kafka import stream_ledger
from monolith.native_training.data.kafka.kafka_messages import (
  EVENT_TIME_MS,
  POSITION,
  KafkaMessages,
)
from monolith.native_training.runtime.ops import core_errors, loader, python_errors

__all__ = ["decode_example", "default_bad_messages", "serialize_one"]

# While all messages are good, Python learns how many there were this often.
_REPORT_EVERY_MS = 1000

_lock = threading.Lock()
_default: BadMessages | None = None
_tallies: weakref.WeakKeyDictionary[BadMessages, int] = weakref.WeakKeyDictionary()
_tally_numbers = itertools.count(1)


def default_bad_messages() -> BadMessages:
  """What `decode_example` uses where it gets none: one object a process."""
  global _default
  with _lock:
    if _default is None:
      _default = BadMessages()
    return _default


def _tally_of(bad_messages: BadMessages) -> int:
  """Where all graphs of this process count what they have not reported to it yet."""
  with _lock:
    if bad_messages not in _tallies:
      _tallies[bad_messages] = next(_tally_numbers)
    return _tallies[bad_messages]


@tf.autograph.experimental.do_not_convert
def decode_example(
  messages: tf.Tensor | KafkaMessages,
  features: Mapping[str, Feature],
  bad_messages: BadMessages | None = None,
) -> dict[str, tf.Tensor | tf.RaggedTensor | tf.SparseTensor]:
  """Parses a batch of messages and leaves out those that cannot be parsed.

      dataset.map(lambda messages: decode_example(messages, FEATURES))

  The tensors are those of `tf.io.parse_example`. A message is bad if that would not
  take it: it is not a `tf.train.Example`, lacks a feature without default, or has one
  of another type or length. The batch goes on without it, so that a batch of bad
  messages only has size 0; an `Estimator` leaves such batches out. While all messages
  are good, no Python runs. In a model that is exported use `tf.io.parse_example`: what
  is reported to Python is reported to this process.

  Args:
    messages: string `[n]`, or `KafkaMessages`, whose bad messages are reported with
      topic, partition and offset.
    features: per name, `tf.io.RaggedFeature` (without partitions), `FixedLenFeature`
      or `VarLenFeature`. Ids are `tf.io.RaggedFeature(tf.int64)`.
    bad_messages: counts bad messages and stops where there are too many; None means
      `default_bad_messages()`, which stops where more are bad than 1 % and chance
      explain, and which all calls of the process share.

  Returns:
    Per name of `features` a tensor with `n_good` rows, ragged for `RaggedFeature`,
    sparse for `VarLenFeature`. Of `KafkaMessages` also `"stream_position"` and
    `"event_time_ms"` (milliseconds since the epoch), both int64 `[n_good]`.

  Raises:
    ValueError: if `features` or `messages` are not as described.
    TooManyBadMessages: eagerly, and out of an `Estimator` that reads the dataset; of
      who iterates over one eagerly, and other sessions, it is an `InvalidArgumentError`
      that has its text.
  """
  layout = FeatureLayout(features)
  if bad_messages is None:
    bad_messages = default_bad_messages()
  elif not isinstance(bad_messages, BadMessages):
    raise ValueError(f"bad_messages must be a BadMessages, got {bad_messages!r}")
  kafka = messages if isinstance(messages, KafkaMessages) else None
  serialized = _vector_of_strings(kafka.message if kafka else messages)
  columns = [kafka.position, kafka.timestamp] if kafka else []
  # Eagerly Python runs anyway, and kernels are kept for good, one for each tally.
  eager = tf.executing_eagerly()
  parsed = core_errors.PlainOps(loader.ops()).monolith_parse_examples(
    serialized,
    columns,
    layout.defaults,
    report_every_ms=0 if eager else _REPORT_EVERY_MS,
    tally=0 if eager else _tally_of(bad_messages),
    **layout.attributes,
  )
  if eager:
    _report_now(bad_messages, parsed, serialized, kafka)
  else:
    parsed = _reported_in_graph(bad_messages, parsed, serialized, kafka)
  tensors = layout.tensors(
    parsed.ragged_values, parsed.ragged_splits, parsed.dense_values
  )
  if kafka:
    tensors[POSITION], tensors[EVENT_TIME_MS] = parsed.good_columns
  return tensors


def _vector_of_strings(messages: tf.Tensor) -> tf.Tensor:
  tensor = tf.convert_to_tensor(messages)
  if tensor.dtype != tf.string:
    raise ValueError(
      f"messages must be strings or KafkaMessages, got {tensor.dtype.name}; pass the "
      "message of an element"
    )
  if tensor.shape.rank not in (None, 1):
    raise ValueError(
      f"messages must be a batch of shape [n], got {tensor.shape}; use "
      "dataset.batch(n) before map"
    )
  return tensor


def _bad_ones(
  parsed, serialized: tf.Tensor, kafka: KafkaMessages | None
) -> list[tf.Tensor]:
  """Message, reason, topic, partition, offset and, of Kafka's, position of the bad
  ones, [n_bad] each."""
  if kafka:
    places = [kafka.topic, kafka.partition, kafka.offset, kafka.position]
    places = [tf.gather(place, parsed.bad) for place in places]
  else:
    shape = tf.shape(parsed.bad)
    places = [tf.fill(shape, ""), tf.fill(shape, -1), parsed.bad]
  return [tf.gather(serialized, parsed.bad), parsed.reasons, *places]


def _tell(bad_messages: BadMessages, seen, columns) -> None:
  """Reports what `_bad_ones` found, as NumPy arrays."""
  columns, position = columns[:5], columns[5:]
  bad = [
    BadMessage(message, _text(reason), _text(topic), int(partition), int(offset))
    for message, reason, topic, partition, offset in zip(*columns, strict=True)
  ]
  for positions in position:
    counted = stream_ledger.are_counted(positions)
    bad = [b for b, is_counted in zip(bad, counted, strict=True) if not is_counted]
  bad_messages.report(int(seen), bad)
  for positions in position:
    stream_ledger.leave_out(positions)


def _text(value: bytes) -> str:
  return value.decode("utf-8", "backslashreplace")


def _report_now(bad_messages, parsed, serialized, kafka) -> None:
  columns = []
  if len(parsed.bad):
    columns = [column.numpy() for column in _bad_ones(parsed, serialized, kafka)]
  _tell(bad_messages, parsed.num_seen, columns)


def _reported_in_graph(bad_messages, parsed, serialized, kafka):
  """The same outputs, after the messages are reported; that fails if too many are
  bad."""

  def tell(seen, *columns) -> np.ndarray:
    try:
      with python_errors.kept(TooManyBadMessages):
        _tell(bad_messages, seen, columns)
    except Exception as error:  # The op has its message, without a traceback.
      logging.debug("reporting bad messages failed", exc_info=True)
      return np.array((str(error) or repr(error)).encode(), object)
    return np.array(b"", object)

  def report():
    columns = _bad_ones(parsed, serialized, kafka)
    error = tf.numpy_function(tell, [parsed.num_seen, *columns], tf.string)
    error.set_shape([])
    with tf.control_dependencies([loader.ops().monolith_fail(error)]):
      return tf.constant(True)

  reported = tf.cond(parsed.num_seen > 0, report, lambda: tf.constant(False))
  with tf.control_dependencies([reported]):
    outputs = tf.identity_n(tf.nest.flatten(parsed))
  return tf.nest.pack_sequence_as(parsed, outputs)
