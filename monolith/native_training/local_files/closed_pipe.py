"""Programs whose output nobody reads any more, as behind `| head`."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable


def ends_quietly(main: Callable[..., int | None]) -> Callable[..., int | None]:
  """Decorates a program's main function, which returns the exit code: it is 1 where
  nobody reads what the program prints, and no traceback says so."""

  @functools.wraps(main)
  def quiet(*arguments) -> int | None:
    try:
      code = main(*arguments)
      if sys.stdout:  # None where it was closed from the beginning.
        sys.stdout.flush()
      return code
    except BrokenPipeError:
      _drop_output()
      return 1

  return quiet


def _drop_output() -> None:
  """What is still buffered must not fail at exit either."""
  for stream in filter(None, (sys.stdout, sys.stderr)):
    try:
      stream.flush()
    except BrokenPipeError:
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, stream.fileno())
      os.close(nowhere)
