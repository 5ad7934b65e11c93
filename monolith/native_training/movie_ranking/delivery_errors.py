"""Messages that could not be delivered: counted, and told of while others are sent."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

_SAY_AGAIN_SECS = 5.0
_REASONS = 3  # In one line.


class DeliveryErrors:
  """Counts errors by their reason, and says what is new: at once, then now and then.

  Args:
    say: is given a line, every five seconds at most.
    clock: seconds that pass.

  Attributes:
    counts: how many messages could not be delivered, by reason.
  """

  def __init__(
    self, say: Callable[[str], object], clock: Callable[[], float] = time.monotonic
  ):
    self.counts: collections.Counter[str] = collections.Counter()
    self._new: collections.Counter[str] = collections.Counter()
    self._say = say
    self._clock = clock
    self._say_at = float("-inf")

  def add(self, reason: str, count: int = 1) -> None:
    """Counts messages."""
    self.counts[reason] += count
    self._new[reason] += count

  def tell(self) -> None:
    """Says what is new, if it is time to; to be called again and again."""
    if not self._new or self._clock() < self._say_at:
      return
    self._say_at = self._clock() + _SAY_AGAIN_SECS
    reasons = self._new.most_common(_REASONS)
    self._say(
      f"{self._new.total():,} not delivered, {self.counts.total():,} in all: "
      + ", ".join(f"{reason} ({count:,})" for reason, count in reasons)
    )
    self._new.clear()
