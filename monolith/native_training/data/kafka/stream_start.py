"""Where a job begins to read topics, and which topics they are."""

from __future__ import annotations

import time
from collections.abc import Callable

from monolith.native_training.data.kafka import topic_patterns
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.consumer_group import ConsumerGroup
from monolith.native_training.data.kafka.stream_offsets import BEGUN, Offsets, Partition

_ASK_AGAIN_SECS = 1.0


def first_offsets(
  group: ConsumerGroup, offsets: Offsets, check: Callable[[], object]
) -> Offsets:
  """Where a job begins to read topics that it has not begun to read before, and which
  topics they are. Waits for brokers that are away.

  Args:
    offsets: of the job.
    check: called again and again; ends waiting by what it raises.

  Raises:
    StreamFailed: a topic is another than the job has read; or see
      `ConsumerGroup.first_offsets`.
  """
  made = _answer(group.topics_made, check)
  check_same(made, offsets)
  marks = [Partition(group.name, topic, BEGUN) for topic in group.topics]
  begun = [mark for mark in marks if mark not in offsets]
  if not begun:
    return made
  topics = [mark.topic for mark in begun]
  # What the group has committed of other topics may be ahead of training.
  found = {
    p: offset
    for p, offset in _answer(group.first_offsets, check).items()
    if any(topic_patterns.is_meant(p.topic, topic) for topic in topics)
  }
  return {**dict.fromkeys(begun, 0), **made, **found}


def check_same(made: Offsets, known: Offsets) -> None:
  """Checks that topics are those that are known.

  Args:
    made: a mark `MADE` of each.
    known: those of topics that were read, among offsets.

  Raises:
    StreamFailed: one is another.
  """
  for mark, number in made.items():
    if known.get(mark, number) != number:
      raise StreamFailed(
        f"topic {mark.topic} was deleted and made anew since it was trained on. Use "
        "another group_id to train on it from its beginning"
      )


def _answer(ask: Callable[[], Offsets | None], check: Callable[[], object]) -> Offsets:
  """What brokers answer, asked until they do."""
  while True:
    check()
    answer = ask()
    if answer is not None:
      return answer
    time.sleep(_ASK_AGAIN_SECS)
