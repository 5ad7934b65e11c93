"""How many examples a worker has trained on, over all its processes."""

import json


class TrainedExamples:
  """Reads a worker's progress file, which every process of the worker's writes anew.

  A process that is killed has trained on for up to a second more than it says there.

  Args:
    path: of the file, which need not exist yet.

  Attributes:
    has_begun: whether there is one.
  """

  def __init__(self, path: str):
    self._path = path
    self._before = 0  # Of processes that have ended.
    self._now = 0
    self.has_begun = False

  @property
  def total(self) -> int:
    return self._before + self._now

  def read(self) -> None:
    """Reads the file; to be called more often than processes follow on each other."""
    try:
      with open(self._path) as file:
        content = json.load(file)
    except (OSError, ValueError):
      return
    self.has_begun = True
    examples = content.get("examples", 0)
    if examples < self._now:  # Another process counts from 0.
      self._before += self._now
    self._now = examples
