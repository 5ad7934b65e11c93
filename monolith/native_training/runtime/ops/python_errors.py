"""Exceptions of Python that TensorFlow runs, which its own errors have as text only.

A dataset's generators and functions of Python run inside of TensorFlow. What they raise
comes out of a session as an `OpError` of some type whose message has the text of the
exception in the midst of others. Who keeps an exception here has it come out of
`core_errors.told_plainly` as itself.
"""

import collections
import contextlib
import copy
from collections.abc import Iterator

import tensorflow as tf

# Of a text: TensorFlow cuts what goes from process to process.
_COMPARED = 200
# An exception that no session tells is forgotten when so many came after it.
_MOST = 16

_kept: collections.deque[Exception] = collections.deque(maxlen=_MOST)


def keep(error: Exception) -> None:
  """Notes an exception that TensorFlow is about to be told. Any thread may."""
  # A copy has no traceback, which would hold on to all that its frames have. Of what
  # cannot be copied, or has no text, TensorFlow's error has to do.
  with contextlib.suppress(Exception):
    if str(error):
      _kept.append(copy.copy(error))


@contextlib.contextmanager
def kept() -> Iterator[None]:
  """A context whose exceptions are kept, and pass."""
  try:
    yield
  except Exception as error:
    keep(error)
    raise


def take(error: tf.errors.OpError) -> Exception | None:
  """The exception that an error tells of; None where it was not kept."""
  for own in reversed(list(_kept)):
    if str(own)[:_COMPARED] in error.message:
      with contextlib.suppress(ValueError):  # Another thread was told of it too.
        _kept.remove(own)
      return own
  return None
