"""Whose a file is that a process may leave behind: names of machines and processes."""

import functools
import hashlib
import os
import uuid


@functools.cache
def machine() -> str:
  """Names all whose process ids mean the same, as those of two containers do not: some
  hexadecimal digits."""
  try:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
      boot = file.read()
    processes = os.readlink("/proc/self/ns/pid")
  except OSError:
    return uuid.uuid4().hex  # Who can say.
  return hashlib.sha256((boot + processes).encode()).hexdigest()[:16]


def is_gone(named_machine: str, process: int) -> bool:
  """Whether there is no such process any more: it was of this machine, and has ended.

  Args:
    named_machine: the `machine()` of the process.
    process: its id.
  """
  if named_machine != machine():
    return False
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return True
  except (OSError, OverflowError):
    pass  # Another user's, or no id at all.
  return False
