"""A table that grows by a line whenever a round is over, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from monolith.native_training.local_files import whole_file


class RoundTable:
  """Lines of a table.

  Args:
    columns: name and width of each, a negative width for text.
  """

  def __init__(self, columns: Sequence[tuple[str, int]]):
    self._columns = columns

  def heading(self) -> str:
    """The first two lines."""
    rule = ["-" * abs(width) for _, width in self._columns]
    return f"{self._line([name for name, _ in self._columns])}\n{self._line(rule)}"

  def row(self, cells: Sequence[object], problems: Sequence[str]) -> str:
    """The line of a round, and below it what was lost.

    Args:
      cells: one a column; None is shown as a dash.
      problems: what was lost, in words.
    """
    line = self._line(["-" if cell is None else cell for cell in cells])
    return "\n".join([line, *(f"      {problem}" for problem in problems)])

  def _line(self, cells: Sequence[object]) -> str:
    fitted = [
      f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}"
      for cell, (_, width) in zip(map(str, cells), self._columns, strict=True)
    ]
    return f"| {' | '.join(fitted)} |"


def lost(names: Sequence[object]) -> str:
  """How the last line ends: which rounds were lost."""
  if not names:
    return "none lost"
  return f"{len(names)} lost ({', '.join(map(str, names))})"


def write_json(path: str, content: dict[str, Any]) -> None:
  """Writes a file, as `whole_file.write_text` does."""
  whole_file.write_text(path, json.dumps(content, indent=2) + "\n")
