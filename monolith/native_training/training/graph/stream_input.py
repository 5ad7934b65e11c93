"""The end of a dataset that reads streams."""

import dataclasses
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import dataset_options_pb2

from monolith.native_training.data import datasets
from monolith.native_training.data.kafka.kafka_messages import EVENT_TIME_MS, POSITION

_BATCHES_AHEAD = 2
# Types of ops of datasets that end when what they read does, and not before.
_END_LAST = (
  "BatchDataset",
  "ConcatenateDataset",
  "FilterDataset",
  "FlatMapDataset",
  "IgnoreErrorsDataset",
  "InterleaveDataset",
  "MapAndBatchDataset",
  "MapDataset",
  "OptionsDataset",
  "PaddedBatchDataset",
  "ParallelBatchDataset",
  "ParallelMapDataset",
  "PrefetchDataset",
  "RebatchDataset",
  "UnbatchDataset",
)
_REFUSED = (
  "CacheDataset",
  "ExperimentalGroupBy",
  "GroupBy",
  "LegacyParallelInterleave",
  "ParallelInterleave",
  "Repeat",
  "Shuffle",
  "Snapshot",
)
# They begin anew with each round, of which they keep count.
_STATEFUL = ("ScanDataset", "ShardDataset", "SkipDataset", "UniqueDataset")
_UNCLEAR = (
  "behind which they may come twice or in another order than they were read in, so "
  "that it cannot be said which of them are trained on"
)
_FIXED_SIZE = (
  "batches of a fixed size, so that what does not fill one is lost whenever the stream "
  "has nothing: use batch(..., drop_remainder=False)"
)


@dataclasses.dataclass
class StreamMarks:
  """What a batch of a stream says of itself.

  Attributes:
    positions: int64 `[n]`, which messages it has.
    event_time_ms: int64 `[n]`, when their events were, if it says so.
  """

  positions: tf.Tensor
  event_time_ms: tf.Tensor | None


@dataclasses.dataclass
class StreamBatches:
  """The batches that a job trains on.

  Attributes:
    dataset: makes them beside training.
    may_end_early: it may end before all that its streams have read has come out, as
      behind `take`, or `zip` where another stream has nothing.
  """

  dataset: tf.data.Dataset
  may_end_early: bool


def prepare(dataset: tf.data.Dataset, num_streams: int) -> StreamBatches:
  """Has batches be made beside training. In graphs only.

  Args:
    num_streams: how many streams it may read.

  Raises:
    ValueError: its elements do not say which messages they are, or may come twice or in
      another order than they were read in.
  """
  if POSITION not in dataset.element_spec:
    raise ValueError(
      "input_fn reads messages of Kafka, but its elements do not say which: they lack "
      f"{POSITION!r}. Pass the whole element, not its message only, to decode_example, "
      f"and keep {POSITION!r} in what comes after"
    )
  shape = dataset.element_spec[POSITION].shape
  if shape.rank == 0:
    raise ValueError(
      "input_fn reads messages of Kafka one by one, but a model gets batches: use "
      "batch(n) behind unbatch()"
    )
  if shape.as_list()[:1] != [None]:
    raise ValueError(f"input_fn reads messages of Kafka in {_FIXED_SIZE}")
  path = _Path()
  path.follow(tf.data.experimental.to_variant(dataset).op)
  if path.is_nondeterministic:
    raise ValueError(
      "input_fn reads messages of Kafka in a dataset with options.deterministic=False, "
      f"{_UNCLEAR}: leave that out"
    )
  # Others are read by functions, or not at all.
  may_end_early = path.may_end_early or path.num_streams < num_streams
  # Options of streams that functions read do not hold for what is around them.
  dataset = dataset.prefetch(_BATCHES_AHEAD).with_options(datasets.untuned())
  return StreamBatches(dataset, may_end_early)


class _Path:
  """The ops of datasets between streams and what is trained on."""

  def __init__(self):
    self.may_end_early = False
    # Options hold for all of a dataset, wherever in it they are.
    self.is_nondeterministic = False
    self._streams: set[str] = set()

  @property
  def num_streams(self) -> int:
    return len(self._streams)

  def follow(self, op: tf.Operation) -> bool:
    """Looks at an op and at those that it reads; returns whether streams are there."""
    if datasets.is_stream(op):
      if op.name in self._streams:
        raise ValueError(
          "input_fn reads a dataset of Kafka messages twice, of which the second time "
          "begins where the first has ended: make a dataset for each"
        )
      self._streams.add(op.name)
      return True
    self.is_nondeterministic |= _has_nondeterministic_options(op)
    # Not a generator: one that has a stream must not keep another from being found.
    found = [self.follow(i.op) for i in op.inputs if i.dtype == tf.variant]
    if not any(found):
      return False
    if op.type.startswith(_REFUSED):
      raise ValueError(
        f"input_fn reads messages of Kafka through a {op.type}, {_UNCLEAR}: it must "
        "not shuffle, repeat, cache, snapshot, group or interleave them in parallel"
      )
    if op.type == "InterleaveDataset" and not _has_one_cycle(op):
      raise ValueError(
        f"input_fn reads messages of Kafka through an {op.type} with a cycle_length "
        f"that is not 1, {_UNCLEAR}: use interleave(..., cycle_length=1), or flat_map"
      )
    if op.type in _STATEFUL:
      raise ValueError(
        f"input_fn reads messages of Kafka through a {op.type}, which begins anew "
        "whenever the stream has had nothing for a second, and so would skip messages "
        "again, or forget what it has seen: leave that out"
      )
    if _drops_remainder(op):
      raise ValueError(
        f"input_fn reads messages of Kafka through a {op.type} in {_FIXED_SIZE}"
      )
    if _is_nondeterministic(op):
      raise ValueError(
        f"input_fn reads messages of Kafka through a {op.type} with "
        f"deterministic=False, {_UNCLEAR}: leave that out"
      )
    is_in_function = any(found[1:]) and not op.type.startswith("ConcatenateDataset")
    if is_in_function or not op.type.startswith(_END_LAST):
      self.may_end_early = True
    return True


def _has_nondeterministic_options(op: tf.Operation) -> bool:
  if op.type != "OptionsDataset":
    return False
  options = dataset_options_pb2.Options.FromString(op.get_attr("serialized_options"))
  # One that is not set is true.
  return options.HasField("deterministic") and not options.deterministic


def _has_one_cycle(op: tf.Operation) -> bool:
  # The last inputs are cycle_length and block_length.
  return tf.get_static_value(op.inputs[-2]) == 1


def _drops_remainder(op: tf.Operation) -> bool:
  # Of all ops that have it, it is the last input.
  if op.op_def.input_arg[-1].name != "drop_remainder":
    return False
  value = tf.get_static_value(op.inputs[-1])
  return value is None or bool(value)


def _is_nondeterministic(op: tf.Operation) -> bool:
  names = [attribute.name for attribute in op.op_def.attr]
  return "deterministic" in names and op.get_attr("deterministic") == b"false"


def split(features: dict[str, Any]) -> tuple[dict[str, Any], StreamMarks]:
  """What the model gets of a batch, and the rest."""
  rest = dict(features)
  positions = rest.pop(POSITION)
  return rest, StreamMarks(positions, rest.pop(EVENT_TIME_MS, None))
