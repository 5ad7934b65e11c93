"""What Monolith's ops say when they fail, without what TensorFlow wraps around it.

TensorFlow puts an op's sentence after or between where the op was made and what it was
called, which for ops that no user has written is only in the way. Exceptions of Python
it tells as errors of its own (see `python_errors`).
"""

import contextlib
import functools
import re
import types
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from monolith.native_training.runtime.ops import python_errors

_EAGER = re.compile(
  r"\{\{function_node __wrapped__Monolith[^}]*\}\} ?(?P<sentence>.*?)"
  r" \[Op:Monolith\w+\](?: name: .*)?",
  re.DOTALL,
)
_IN_SESSION = re.compile(
  r"^(?: *\(\d+\) [A-Z_]+: )?(?P<sentence>[^\n]+)\n\t \[\[\{\{node (?P<node>[^}]+)\}\}",
  re.MULTILINE,
)


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
  """Lets an error of one of Monolith's ops have its sentence as its whole message, and
  one that an exception of Python has led to be that exception, if it was kept.

  The error's type stays otherwise; errors of other ops pass as they are.
  """
  try:
    yield
  except tf.errors.OpError as error:
    own = python_errors.take(error)
    if own is not None:
      raise own from None
    sentence = _sentence(error)
    if sentence is None:
      raise
    raise type(error)(error.node_def, None, sentence) from None


class PlainOps:
  """The functions of a module of ops, with `told_plainly` around each call."""

  def __init__(self, ops: types.ModuleType):
    self._ops = ops

  def __getattr__(self, name: str) -> Any:
    op = getattr(self._ops, name)

    # AutoGraph would look for the source of `op`, which has none, and warn.
    @tf.autograph.experimental.do_not_convert
    @functools.wraps(op)
    def call(*inputs, **attributes):
      with told_plainly():
        return op(*inputs, **attributes)

    return call


def sentence_of(error: tf.errors.OpError) -> str:
  """What the op said whose failing led to an error, in a session."""
  # Sessions and savers raise the runtime's error anew, with more text around its
  # message. One of another type is what the caller was dealing with before.
  text, cause = error.message, error
  while cause is not None:
    if isinstance(cause, tf.errors.OpError):
      if type(cause) is not type(error):
        break
      text = cause.message
    cause = cause.__context__
  in_session = _IN_SESSION.search(text)
  return in_session["sentence"] if in_session else text


def _sentence(error: tf.errors.OpError) -> str | None:
  """What the op said; None where the op is not one of Monolith's."""
  eager = _EAGER.fullmatch(error.message)
  if eager:
    return eager["sentence"]
  if error.op is None or not error.op.type.startswith("Monolith"):
    return None
  # A session raises the runtime's error anew, with more text around its message.
  cause = error.__context__
  text = cause.message if isinstance(cause, tf.errors.OpError) else error.message
  in_session = _IN_SESSION.search(text)
  return in_session["sentence"] if in_session else None
