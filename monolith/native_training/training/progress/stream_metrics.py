"""How current training on streams is: lag, and time from an event to its training."""

import bisect
import time
from collections.abc import Sequence

import numpy as np

from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_offsets import Partition

# Upper ends of the histogram's buckets, seconds.
DELAY_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 86400)

_PARTITIONS_TOLD = 8


class StreamMetrics:
  """Measures one worker's streams. Written by the thread that trains; others may read,
  and `look`.

  Attributes:
    delay_counts: int64 `[len(DELAY_BUCKETS) + 1]`, how many examples were trained on so
      long after their event, a bucket each.
    delay_sum: seconds, of all of them.
    lags: how many messages of each partition of this worker's are still to come.
    bad_messages: how many there were.
    deleted_messages: how many the brokers had deleted before they were trained on.
  """

  def __init__(self, streams: Sequence[KafkaStream]):
    self._streams = streams
    self._recent: list[np.ndarray] = []
    self._percentiles: tuple[float, float] | None = None
    self.delay_counts = np.zeros(len(DELAY_BUCKETS) + 1, np.int64)
    self.delay_sum = 0.0
    self.lags: dict[Partition, int] = {}
    self.bad_messages = 0
    self.deleted_messages = 0

  def step_done(self, event_time_ms: np.ndarray | None) -> None:
    """Notes a batch that is trained on.

    Args:
      event_time_ms: int64 `[n]`, when its events were.
    """
    if event_time_ms is not None:
      self._recent.append(time.time() - event_time_ms / 1000)

  def look(self) -> None:
    """Brings `lags`, `bad_messages` and `deleted_messages` up to date, which change
    also while nothing is trained on."""
    self.lags = {
      partition: lag
      for stream in self._streams
      for partition, lag in stream.lags().items()
    }
    self.bad_messages = sum(stream.bad_messages for stream in self._streams)
    self.deleted_messages = sum(stream.deleted_messages for stream in self._streams)

  def update(self) -> None:
    """Brings all attributes up to date; about once a second."""
    self.look()
    if not self._recent:
      self._percentiles = None
      return
    delays = np.concatenate(self._recent)
    self._recent = []
    self.delay_counts += np.bincount(
      np.searchsorted(DELAY_BUCKETS, delays), minlength=len(self.delay_counts)
    )
    self.delay_sum += float(delays.sum())
    p50, p99 = np.percentile(delays, (50, 99))
    self._percentiles = float(p50), float(p99)

  def values(self) -> dict[str, float]:
    """The last second in numbers: `lag` in messages, `event_to_trained_p50_secs` and
    `..._p99_secs` where something was trained on, `bad_messages` and
    `deleted_messages` in all."""
    values = {
      "lag": sum(self.lags.values()),
      "bad_messages": self.bad_messages,
      "deleted_messages": self.deleted_messages,
    }
    if self._percentiles:
      names = ("event_to_trained_p50_secs", "event_to_trained_p99_secs")
      values.update(zip(names, self._percentiles, strict=True))
    return values

  def text(self) -> str:
    """The same for people."""
    parts = [self._lag_text()]
    if self._percentiles:
      p50, p99 = map(_duration, self._percentiles)
      parts.append(f"event to trained {p50} (p99 {p99})")
    if self.bad_messages:
      parts.append(f"{self.bad_messages:,} bad messages")
    if self.deleted_messages:
      parts.append(f"{self.deleted_messages:,} messages deleted before training")
    return ", ".join(parts)

  def _lag_text(self) -> str:
    """All messages that are still to come, and those of the partitions with most."""
    behind = [item for item in self.lags.items() if item[1]]
    behind.sort(key=lambda item: item[1], reverse=True)
    is_one_topic = len({partition.topic for partition in self.lags}) == 1
    told = [
      f"{partition}: {lag:,}" if is_one_topic else f"{topic} {partition}: {lag:,}"
      for (_, topic, partition), lag in behind[:_PARTITIONS_TOLD]
    ]
    if rest := behind[_PARTITIONS_TOLD:]:
      told.append(f"{len(rest):,} others: {sum(lag for _, lag in rest):,}")
    text = f"lag {sum(self.lags.values()):,}"
    return f"{text} ({', '.join(told)})" if told else text


def _duration(secs: float) -> str:
  units = (
    (1, "ms", 1000),
    (300, "s", 1),
    (7200, "min", 1 / 60),
    (172800, "h", 1 / 3600),
  )
  position = bisect.bisect([limit for limit, _, _ in units], secs)
  _, unit, factor = units[position] if position < len(units) else (0, "d", 1 / 86400)
  return f"{secs * factor:,.0f} {unit}"
