"""What `train` says last where one line tells why it ends, for those who started it."""

from __future__ import annotations

from collections.abc import Sequence

_PREFIX = "train: "


def line(reason: str) -> str:
  """The last line of a process."""
  return f"{_PREFIX}{reason}"


def are_in(text: str) -> bool:
  """Whether a line is the last one."""
  return text.startswith(_PREFIX)


def reason_in(lines: Sequence[str]) -> str:
  """The reason, among the lines that a process has printed; `""` where none says so."""
  return next((s.removeprefix(_PREFIX) for s in reversed(lines) if are_in(s)), "")
