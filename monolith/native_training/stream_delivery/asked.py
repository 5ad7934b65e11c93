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


def most_repeats(slowest_save_secs: float) -> int:
  """How many messages a job may train on again after one kill.

  When a server is lost, training goes back to the newest checkpoint that is complete.
  That holds what was trained on when its writing began. The one after it began
  `SAVE_SECS` later, or when it was written, if that took longer, and may have been
  almost complete. What came in that time is trained on again, with what came until the
  loss was noticed. A partition that changes hands costs less: what was trained on since
  workers told each other last, and what was in flight.

  Workers keep up with the messages, so as many are trained on in a time as are sent.

  Args:
    slowest_save_secs: how long the round's slowest checkpoint took.
  """
  interval = max(SAVE_SECS, slowest_save_secs)
  secs = interval + slowest_save_secs + _NOTICE_SECS + _IN_FLIGHT_SECS
  return round(RATE * secs)
