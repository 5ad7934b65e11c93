"""Sessions over a cluster, which can be closed when its servers are gone."""

import atexit
import sys
import threading
import time

import tensorflow as tf

_CLOSE_SECS = 5.0
_EXIT_SECS = 10.0

_late: list[threading.Thread] = []  # Still closing when they were given up.

# Deleting a session while it is being closed is an error in TensorFlow.
_kept: list[tf.compat.v1.Session] = []


class ClosableSession(tf.compat.v1.Session):
  """A session whose `close` comes back when a server is gone.

  TensorFlow's own waits until the server is there again. Here that goes on in a thread,
  which dies with the process. A process that ends waits some seconds more for it.
  """

  _is_abandoned = False

  def abandon(self) -> None:
    """Makes `close` do nothing, because servers are leaving. It would wait for them in
    a thread that may come back when the process ends, and that is an abort."""
    self._is_abandoned = True
    _kept.append(self)

  def close(self):
    # When the process ends a thread would never begin, and all goes with it.
    if self._is_abandoned or sys.is_finalizing():
      return
    closing = threading.Thread(target=super().close, daemon=True)
    closing.start()
    closing.join(_CLOSE_SECS)
    if closing.is_alive():
      _late.append(closing)
      self.abandon()


@atexit.register
def _wait_for_late_ones() -> None:
  """A thread that comes back from TensorFlow while the interpreter is taken down would
  abort the process, whatever its exit code was to be."""
  until = time.monotonic() + _EXIT_SECS
  for closing in _late:
    closing.join(max(until - time.monotonic(), 0))


def sees_only(*devices: str) -> tf.compat.v1.ConfigProto:
  """The config of a session that waits for no process but those of these devices."""
  return tf.compat.v1.ConfigProto(allow_soft_placement=True, device_filters=devices)
