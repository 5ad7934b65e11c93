"""Names of folders that TensorFlow reads again what it has written into."""

import os


def check_is_no_pattern(argument: str, name: str | os.PathLike) -> None:
  """Checks that a name is no pattern.

  TensorFlow writes into a folder `run[1]`, but takes its name for a pattern, of other
  names, when it looks for what is in it.

  Args:
    argument: where the name comes from, for errors.
    name: of a folder, or a whole path.

  Raises:
    ValueError: it has a character of patterns.
  """
  if any(character in os.fspath(name) for character in "*?[]\\"):
    raise ValueError(
      f"{argument}: got {os.fspath(name)!r}, wanted a name without *, ?, [, ] and \\, "
      "which file systems take for patterns"
    )
