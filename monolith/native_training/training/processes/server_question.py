"""Whether a parameter server is away, which an error of storage may look like."""

from collections.abc import Iterable

import tensorflow as tf

# What ops say whose server is away, and some storage that does not work just now.
SERVER_IS_AWAY = (tf.errors.AbortedError, tf.errors.UnavailableError)

_ANSWER_SECS = 10.0


class ServerQuestion:
  """Ops of the default graph that every server answers at once.

  Args:
    devices: of what is on the servers; those of this process do not count.
  """

  def __init__(self, devices: Iterable[str | None]):
    self._answers = []
    for device in sorted({device for device in devices if device and "ps" in device}):
      with tf.device(device):
        self._answers.append(tf.timestamp())

  def is_away(self, session: tf.compat.v1.Session, error: Exception) -> bool:
    """Whether an error comes of a server that is away, and not of storage.

    Args:
      session: in which the error occurred. It has no answer of a server that was
        started again either.
    """
    if not isinstance(error, SERVER_IS_AWAY) or not self._answers:
      return False
    options = tf.compat.v1.RunOptions(timeout_in_ms=int(_ANSWER_SECS * 1000))
    try:
      session.run(self._answers, options=options)
    # RuntimeError: the session is closed.
    except (tf.errors.OpError, RuntimeError):
      return True
    return False
