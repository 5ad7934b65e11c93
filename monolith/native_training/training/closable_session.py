"""Sessions over a cluster, which can be closed when its servers are gone."""

import sys
import threading

import tensorflow as tf

_CLOSE_SECS = 5.0


class ClosableSession(tf.compat.v1.Session):
  """A session whose `close` comes back when a server is gone.

  TensorFlow's own waits until the server is there again. Here that goes on in a thread,
  which dies with the process.
  """

  def close(self):
    if sys.is_finalizing():
      return  # A thread would never begin, and the process takes all with it.
    closing = threading.Thread(target=super().close, daemon=True)
    closing.start()
    closing.join(_CLOSE_SECS)


def sees_only(*devices: str) -> tf.compat.v1.ConfigProto:
  """The config of a session that waits for no process but those of these devices."""
  return tf.compat.v1.ConfigProto(allow_soft_placement=True, device_filters=devices)
