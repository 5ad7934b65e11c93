"""Which checkpoints have all rows, and which only what has changed."""

from monolith.native_training.training.checkpoints.manifest import Manifest

# Of the rows of the last checkpoint with all rows: where increments have more than that
# together, restoring them takes longer than they save.
_MOST_ROWS = 0.5


class Increments:
  """Decides what the next checkpoint of a process is made from.

  Args:
    most: how many checkpoints in a row may be increments; 0 is none.
  """

  def __init__(self, most: int):
    self._most = most
    self.forget()

  def forget(self) -> None:
    """The next checkpoint has all rows."""
    self._name = self._save_id = ""
    self._all_rows = self._rows = self._count = 0

  def base(self) -> tuple[str, str]:
    """Name and save of the checkpoint to take up from; `""` where all rows are due."""
    is_due = self._count >= self._most or self._rows > _MOST_ROWS * self._all_rows
    return ("", "") if is_due or not self._name else (self._name, self._save_id)

  def wrote(self, manifest: Manifest) -> None:
    """A checkpoint is complete."""
    if manifest.base:
      self._rows += manifest.rows + manifest.erased
      self._count += 1
    else:
      self._all_rows, self._rows, self._count = manifest.rows, 0, 0
    self._save_id = manifest.save_id

  def saved_as(self, name: str) -> None:
    """The last one has this name."""
    self._name = name
