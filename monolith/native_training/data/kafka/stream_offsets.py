"""How far streams are read: for each partition the offset of the message that is next.

>>> offsets = {Partition("ranking", "clicks", 0): 17}
>>> decode(encode(offsets)) == offsets
True
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# In place of a partition's number: says, with any offset, that a job has begun to read
# the topic or pattern, and so that partitions without offset have appeared since.
BEGUN = -1
# Likewise: which topic of its name this is, whenever it was made, with half of its id.
MADE = -2


class Partition(NamedTuple):
  """A partition of a topic, as a consumer group reads it."""

  group: str
  topic: str
  partition: int

  @property
  def is_real(self) -> bool:
    """Whether it is one, and no mark in its place."""
    return self.partition >= 0


Offsets = dict[Partition, int]


def merge(parts: Iterable[Mapping[Partition, int]]) -> Offsets:
  """For each partition the furthest offset."""
  merged: Offsets = {}
  for part in parts:
    for partition, offset in part.items():
      if offset > merged.get(partition, -1):
        merged[partition] = offset
  return merged


def encode(offsets: Mapping[Partition, int]) -> bytes:
  """As JSON: group, topic, partition, each by its name."""
  groups: dict[str, dict[str, dict[int, int]]] = {}
  for (group, topic, partition), offset in offsets.items():
    groups.setdefault(group, {}).setdefault(topic, {})[partition] = offset
  return json.dumps(groups, separators=(",", ":"), sort_keys=True).encode()


def decode(encoded: bytes) -> Offsets:
  """What `encode` was given; nothing for an empty string.

  Raises:
    ValueError: it is no such text.
  """
  if not encoded:
    return {}
  try:
    return {
      Partition(group, topic, int(partition)): int(offset)
      for group, topics in json.loads(encoded).items()
      for topic, partitions in topics.items()
      for partition, offset in partitions.items()
    }
  except (AttributeError, TypeError, ValueError):
    raise ValueError(f"not offsets of a stream: {encoded[:100]!r}") from None
