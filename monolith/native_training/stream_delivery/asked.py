"""What a round of kills asks of a job, and the bound on what it may train on again."""

RATE = 1000  # Messages a second.
SEND_SECS = 20.0
MESSAGES = int(RATE * SEND_SECS)
PARTITIONS = 6
SERVERS = 2
WORKERS = 2  # The first is chief.
SAVE_SECS = 3.0  # From the beginning of one checkpoint to that of the next.
# Longer than anything that was killed takes to be back.
STREAM_TIMEOUT_SECS = 12.0
# Until a worker's step fails because a server is gone, or until the others know what a
# worker trained on that is gone: offsets are told once a second.
_NOTICE_SECS = 2.0
# Read, and on their way to be trained on, when a partition goes to another worker.
_IN_FLIGHT_SECS = 1.0


def most_repeats(slowest_save_secs: float, uncovered: int) -> int:
  """How many messages a job may train on again after one kill.

  When a server is lost, training goes back to the newest checkpoint that is complete.
  That holds what was trained on when its writing began. The one after it began
  `SAVE_SECS` later, or when it was written, if that took longer, and may have been
  almost complete. What came in that time is trained on again, with what came until the
  loss was noticed. A partition that changes hands costs less: what was trained on since
  workers told each other last, and what was in flight.

  Where workers keep up with the messages, as many are trained on in a time as are sent.
  Where a busy machine has let them and the checkpoints wait, more can have come since
  the newest one was begun, but not more than had been sent and it does not cover, nor
  more than twice as many as usual: checkpoints that do not come at all are a fault.

  Args:
    slowest_save_secs: how long the round's slowest checkpoint took.
    uncovered: messages that had been sent when a server was killed, without those that
      the newest complete checkpoint covered; 0 where another process was.
  """
  interval = max(SAVE_SECS, slowest_save_secs)
  usual = RATE * (interval + slowest_save_secs)
  since_begun = max(usual, min(uncovered, 2 * usual))
  return round(since_begun + RATE * (_NOTICE_SECS + _IN_FLIGHT_SECS))
