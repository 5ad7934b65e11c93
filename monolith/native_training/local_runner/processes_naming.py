"""Which processes of this machine name something: for tests that want none left."""

from __future__ import annotations

import os
import pathlib


def processes_naming(text: str) -> list[str]:
  """Command lines of processes, other than this one, in which a text occurs."""
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
      command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
      continue
    if text in command and int(path.parent.name) != os.getpid():
      found.append(command)
  return found
