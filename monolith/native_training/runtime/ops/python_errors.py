"""Exceptions of Python that TensorFlow runs, which its own errors have as text only.

A dataset's generators and functions of Python run inside of TensorFlow. What they raise
comes out of a session as an `OpError` of some type whose message has the text of the
exception in the midst of others. One that is kept here comes out of
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


@contextlib.contextmanager
def kept(kind: type[Exception]) -> Iterator[None]:
  """A context whose exceptions of a kind are kept, for any thread; all pass.

  Args:
    kind: exceptions that say in a sentence of their own what is wrong, so that no other
      error has it by chance and nobody needs to know where it was raised.
  """
  try:
    yield
  except kind as error:
    # A copy has no traceback, which would hold on to all that its frames have.
    _kept.append(copy.copy(error))
    raise


def take(error: tf.errors.OpError) -> Exception | None:
  """The exception that an error tells of; None where none was kept."""
  for own in reversed(list(_kept)):
    if str(own)[:_COMPARED] in error.message:
      with contextlib.suppress(ValueError):  # Another thread was told of it too.
        _kept.remove(own)
      return own
  return None
