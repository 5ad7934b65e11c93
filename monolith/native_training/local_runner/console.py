"""The output of several processes on one console, with one live status line."""

from __future__ import annotations

import os
import threading
import time
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_ERASE_LINE = "\r\x1b[K"
_SECONDS_BETWEEN_PLAIN_STATUSES = 10.0


class Console:
  """Writes whole lines to one stream. Thread-safe.

  On a terminal the status line stays at the bottom and is redrawn in place, and names
  are coloured unless the environment sets NO_COLOR. Elsewhere the status is an
  ordinary line every ten seconds.
  """

  def __init__(self, stream: TextIO):
    self._stream = stream
    self._is_terminal = stream.isatty()
    self._has_colour = self._is_terminal and not os.environ.get("NO_COLOR")
    self._lock = threading.Lock()
    self._colours: dict[str, int] = {}
    self._status = ""
    self._next_plain_status = time.monotonic() + _SECONDS_BETWEEN_PLAIN_STATUSES

  def line(self, text: str, name: str = "") -> None:
    """Writes a line.

    Args:
      text: without a newline.
      name: whose line it is, put in front of it.
    """
    with self._lock:
      self._write(f"{self._prefix(name)}{text}\n")

  def status(self, text: str) -> None:
    """Replaces the status line."""
    with self._lock:
      if self._is_terminal:
        self._status = text[: max(self._columns() - 1, 20)]
        self._write("")
      elif time.monotonic() >= self._next_plain_status:
        self._next_plain_status = time.monotonic() + _SECONDS_BETWEEN_PLAIN_STATUSES
        self._write(f"{text}\n")

  def end_status(self) -> None:
    """Leaves the status line where it is, as an ordinary line."""
    with self._lock:
      if self._status:
        text, self._status = self._status, ""
        self._write(f"{text}\n")

  def _write(self, text: str) -> None:
    if self._is_terminal:
      text = f"{_ERASE_LINE}{text}{self._status}"
    self._stream.write(text)
    self._stream.flush()

  def _prefix(self, name: str) -> str:
    if not name:
      return ""
    if not self._has_colour:
      return f"[{name}] "
    colour = self._colours.setdefault(
      name, _COLOURS[len(self._colours) % len(_COLOURS)]
    )
    return f"\x1b[{colour}m[{name}]\x1b[0m "

  def _columns(self) -> int:
    try:
      return os.get_terminal_size(self._stream.fileno()).columns
    except OSError:
      return 80
