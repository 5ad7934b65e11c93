"""The end of a dataset that reads streams."""

import dataclasses
from typing import Any

import tensorflow as tf

from monolith.native_training.data.kafka_messages import EVENT_TIME_MS, POSITION

_BATCHES_AHEAD = 2


@dataclasses.dataclass
class StreamMarks:
  """What a batch of a stream says of itself.

  Attributes:
    positions: int64 `[n]`, which messages it has.
    event_time_ms: int64 `[n]`, when their events were, if it says so.
  """

  positions: tf.Tensor
  event_time_ms: tf.Tensor | None


def prepare(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Leaves out batches without examples, and makes others beside training.

  Raises:
    ValueError: its elements do not say which messages they are.
  """
  if POSITION not in dataset.element_spec:
    raise ValueError(
      "input_fn reads messages of Kafka, but its elements do not say which: they lack "
      f"{POSITION!r}. Pass the whole element, not its message only, to decode_example, "
      f"and keep {POSITION!r} in what comes after"
    )
  if dataset.element_spec[POSITION].shape.as_list()[:1] not in ([], [None]):
    raise ValueError(
      "input_fn reads messages of Kafka in batches of a fixed size, so that what does "
      "not fill one is lost whenever the stream has nothing: use batch(..., "
      "drop_remainder=False)"
    )
  with_examples = dataset.filter(lambda features: tf.size(features[POSITION]) > 0)
  return with_examples.prefetch(_BATCHES_AHEAD)


def split(features: dict[str, Any]) -> tuple[dict[str, Any], StreamMarks]:
  """What the model gets of a batch, and the rest."""
  rest = dict(features)
  positions = rest.pop(POSITION)
  return rest, StreamMarks(positions, rest.pop(EVENT_TIME_MS, None))
