"""What a stream hands on to TensorFlow: messages that came together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from monolith.native_training.data.kafka.message_reader.message_reader import (
  ReadMessages,
)
from monolith.native_training.data.kafka.stream_ledger import StreamLedger


class StreamMessages(NamedTuple):
  """Messages with their places in the stream.

  Attributes:
    values: uint8 `[b]`, the bytes of all.
    begin: int64 `[n]`, where in `values` each begins.
    end: int64 `[n]`, where it ends.
    topic: str `[n]`, or `[1]` where it is the same for all.
    partition: int32 `[n]`.
    offset: int64 `[n]`.
    timestamp: int64 `[n]`, milliseconds since the epoch.
    position: int64 `[n]`, see `StreamLedger`.
  """

  values: np.ndarray
  begin: np.ndarray
  end: np.ndarray
  topic: np.ndarray
  partition: np.ndarray
  offset: np.ndarray
  timestamp: np.ndarray
  position: np.ndarray


NONE = StreamMessages(
  values=np.empty(0, np.uint8),
  begin=np.empty(0, np.int64),
  end=np.empty(0, np.int64),
  topic=np.empty(0, object),
  partition=np.empty(0, np.int32),
  offset=np.empty(0, np.int64),
  timestamp=np.empty(0, np.int64),
  position=np.empty(0, np.int64),
)


def of(read: ReadMessages, ledger: StreamLedger) -> StreamMessages:
  """Messages, with the positions that a ledger gives them."""
  topics = np.array(read.topics, object)
  return StreamMessages(
    values=read.values,
    begin=read.begin,
    end=read.end,
    topic=topics if len(topics) == 1 else topics[read.topic_index],
    partition=read.partition,
    offset=read.offset,
    timestamp=read.timestamp,
    position=ledger.emit(read.topics, read.topic_index, read.partition, read.offset),
  )
