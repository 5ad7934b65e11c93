"""Messages that cannot be parsed: counted, logged, passed on, and a stop if too many.

>>> bad_messages = BadMessages(max_bad_message_ratio=0.05)
>>> bad_messages.report(100, [BadMessage(b"x", "garbage", "clicks", 0, offset=17)])
>>> bad_messages.counts()
{'garbage': 1}
"""

import collections
import math
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from absl import logging

from monolith.native_training import number_checks

WINDOW = 100_000  # messages
_BUCKETS = 100  # parts of a window, which leave it as a whole


class BadMessage(NamedTuple):
  """A message that cannot be parsed.

  Attributes:
    message: its bytes.
    reason: why.
    topic: where it came from; "" if it is not from Kafka, and then
    partition: is -1 and
    offset: is its position in its batch.
  """

  message: bytes
  reason: str
  topic: str = ""
  partition: int = -1
  offset: int = -1

  @property
  def place(self) -> str:
    """Where it was, for people."""
    if not self.topic:
      return f"message {self.offset} of its batch"
    return f"topic {self.topic!r}, partition {self.partition}, offset {self.offset}"


class DeadLetters(Protocol):
  """Where bad messages are passed on to."""

  def send(self, bad: Sequence[BadMessage]) -> None:
    """Passes them on. Several threads may call it at once."""


class TooManyBadMessages(RuntimeError):
  """More messages are bad than `max_bad_message_ratio` and chance explain."""


def most_by_chance(limit: float, seen: int) -> float:
  """How many of `seen` messages may be bad where a share of `limit` is allowed.

  n * p + 5 * sqrt(n * p * (1 - p)) + 25 / 6, with n = `seen` and p = `limit`. Where the
  share is just p and messages are independent, there are more in fewer than 4 of a
  million windows: Bernstein's inequality, with exp(-5^2 / 2). The last term matters for
  few messages: the first of a stream may be bad. It is left out for a limit of 0.
  """
  if limit == 0:
    return 0.0
  return limit * seen + 5 * math.sqrt(limit * (1 - limit) * seen) + 25 / 6


class BadMessages:
  """Counts bad messages and decides when there are too many. One of a stream that a
  process reads again counts once.

  The first one is logged at once, and then at most one line every `log_every_secs`,
  with how many there were and the latest of them: its place and why it is bad.

  Training stops when more of the last 100,000 messages or so are bad than
  `most_by_chance(max_bad_message_ratio, number of them)`. Those messages are then
  forgotten, so that who goes on is judged afresh; the counts are kept.

  Thread-safe. One object may serve several datasets of a process; it sees them as one.

  Args:
    max_bad_message_ratio: share of bad messages that is allowed, 0 to 1. Training stops
      when more are bad than it and chance explain: with 0.01 more than 1,161 of
      100,000, which is 1.16 %. 0 stops at the first one, 1 never stops.
    dead_letters: gets each bad message, such as `KafkaDeadLetters`; None drops them.
    log_every_secs: seconds between lines of the log, at least 0.

  Raises:
    ValueError: for a setting that is out of range or of another type.
  """

  def __init__(
    self,
    max_bad_message_ratio: float = 0.01,
    dead_letters: DeadLetters | None = None,
    log_every_secs: float = 60.0,
  ):
    limit = max_bad_message_ratio
    if not number_checks.is_finite(limit) or not 0 <= limit <= 1:
      raise ValueError(
        f"max_bad_message_ratio must be a number from 0 to 1, got {limit!r}"
      )
    if not number_checks.is_finite(log_every_secs) or log_every_secs < 0:
      raise ValueError(
        f"log_every_secs must be a number of at least 0, got {log_every_secs!r}"
      )
    if dead_letters is not None and not callable(getattr(dead_letters, "send", None)):
      raise ValueError(
        "dead_letters must have a method send, as KafkaDeadLetters has, or be None, "
        f"got {dead_letters!r}"
      )
    self._limit = float(limit)
    self._dead_letters = dead_letters
    self._log_every_secs = log_every_secs
    self._lock = threading.Lock()
    self._seen = 0
    self._reasons = collections.Counter()
    self._window = _Window()
    self._latest: BadMessage | None = None
    self._logged_at: float | None = None
    self._bad_at_log = 0
    self._seen_at_log = 0

  @property
  def seen(self) -> int:
    """How many messages there were, bad ones included.

    While all are good they are reported about once a second, and those that came since
    then are missing until more come.
    """
    with self._lock:
      return self._seen

  @property
  def bad(self) -> int:
    """How many of them were bad."""
    with self._lock:
      return self._reasons.total()

  def counts(self) -> dict[str, int]:
    """How many were bad, by reason."""
    with self._lock:
      return dict(self._reasons)

  def report(self, seen: int, bad: Sequence[BadMessage] = ()) -> None:
    """Adds messages.

    Args:
      seen: how many there were since the last report, those in `bad` included.
      bad: the bad ones among them.

    Raises:
      TooManyBadMessages: says share, limit, counts, the latest, and what to do.
      Exception: what `dead_letters.send` raises.
    """
    if self._dead_letters is not None and bad:
      self._dead_letters.send(bad)
    with self._lock:
      self._seen += seen
      self._reasons.update(message.reason for message in bad)
      self._window.add(seen, len(bad))
      if bad:
        self._latest = bad[-1]
      self._log()
      error = self._find_excess()
      if error:
        self._window = _Window()
    if error:
      raise TooManyBadMessages(error)

  def _log(self) -> None:
    bad = self._reasons.total()
    now = time.monotonic()
    if bad == self._bad_at_log:
      return
    if self._logged_at is not None and now < self._logged_at + self._log_every_secs:
      return
    logging.warning(
      "%s of %s messages %swere bad and skipped (%s in all); the latest: %s: %s",
      f"{bad - self._bad_at_log:,}",
      f"{self._seen - self._seen_at_log:,}",
      "" if self._logged_at is None else f"of the last {now - self._logged_at:.0f} s ",
      f"{bad:,}",
      self._latest.place,
      self._latest.reason,
    )
    self._logged_at, self._bad_at_log, self._seen_at_log = now, bad, self._seen

  def _find_excess(self) -> str:
    """What there is too much of; empty if there is not."""
    seen, bad = self._window.seen, self._window.bad
    if bad <= most_by_chance(self._limit, seen):
      return ""
    return (
      f"{bad / seen:.2%} of the last {seen:,} messages are bad ({bad:,}), more than "
      f"max_bad_message_ratio, {self._limit:.2%}, and chance explain. The latest: "
      f"{self._latest.place}: {self._latest.reason}. Compare what is sent with the "
      "features that are wanted; to go on all the same, allow more by "
      "--max_bad_message_ratio, or by "
      "bad_messages=BadMessages(max_bad_message_ratio=...) of decode_example"
    )


class _Window:
  """How many of about the last `WINDOW` messages were bad; not thread-safe."""

  def __init__(self):
    self.seen = 0
    self.bad = 0
    self._buckets = collections.deque([[0, 0]])

  def add(self, seen: int, bad: int) -> None:
    last = self._buckets[-1]
    if last[0] >= WINDOW // _BUCKETS:
      last = [0, 0]
      self._buckets.append(last)
    last[0] += seen
    last[1] += bad
    self.seen += seen
    self.bad += bad
    while self.seen - self._buckets[0][0] >= WINDOW:
      old_seen, old_bad = self._buckets.popleft()
      self.seen -= old_seen
      self.bad -= old_bad
