"""Whether topics that a job reads are still those that it has begun to read."""

from __future__ import annotations

import time
from collections.abc import Callable

from monolith.native_training.data.kafka import stream_start, topic_patterns
from monolith.native_training.data.kafka.consumer_group import ConsumerGroup
from monolith.native_training.data.kafka.stream_offsets import MADE, Offsets
from monolith.native_training.data.kafka.topic_admin import TopicIds, is_gone

_ASK_AGAIN_SECS = 5.0


class TopicWatch:
  """Asks brokers again and again which topics those of known names are. One that was
  made anew is read on where the old one was, with nothing that tells of it.

  Args:
    group: whose topics they are.
    known: gives offsets that have the marks `MADE` of topics that were read.
  """

  def __init__(self, group: ConsumerGroup, known: Callable[[], Offsets]):
    self._group = group
    self._known = known
    self._asked: TopicIds | None = None
    self._ask_at = 0.0

  def look(self) -> None:
    """Checks the topics every 5 s, as far as brokers have answered by now, and waits
    for none of them.

    Raises:
      StreamFailed: one is another than it was.
    """
    if self._asked and self._asked.are_there():
      self._check(self._asked)
      self._asked = None
    now = time.monotonic()
    if now >= self._ask_at:
      self._ask_at = now + _ASK_AGAIN_SECS
      self._asked = self._ask()

  def are_same(self) -> bool:
    """Whether all are what they were, asked of the brokers now; False if they do not
    answer.

    Raises:
      StreamFailed: one is another.
    """
    asked = self._ask()
    return not asked or self._check(asked)

  def _ask(self) -> TopicIds | None:
    name = self._group.name
    topics = [
      p.topic
      for p in self._known()
      if p.partition == MADE and p.group == name
      # A job may have read others before.
      if topic_patterns.is_meant_by_any(p.topic, self._group.topics)
    ]
    return self._group.admin.ask_ids(topics) if topics else None

  def _check(self, asked: TopicIds) -> bool:
    made, errors = asked.answers()
    stream_start.check_same(self._group.marks(made), self._known())
    # What is gone has nothing to read.
    errors = [error for error in errors if not is_gone(error.args[0])]
    for error in errors:
      self._group.admin.note(error)
    return not errors
