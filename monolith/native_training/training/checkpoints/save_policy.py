"""When the chief saves."""

import time

from monolith.core.hyperparams import Params
from monolith.native_training.training.runner_config import RunnerConfig

_DEFAULT_SAVE_SECS = 600.0
_LONGEST_RETRY_SECS = 60.0
_SHORTEST_RETRY_SECS = 1.0


class SavePolicy:
  """When the chief saves: as the config says, else as the model's parameters do.

  Attributes:
    last_step: of the last checkpoint that is known to hold all; None where none is.
  """

  def __init__(self, config: RunnerConfig, params: Params):
    self._steps = config.save_checkpoints_steps
    self._secs = config.save_checkpoints_secs
    if self._steps is None and self._secs is None:
      self._steps = params.train.save_checkpoints_steps
      self._secs = params.train.save_checkpoints_secs
    if self._steps is None and self._secs is None:
      self._secs = _DEFAULT_SAVE_SECS
    self.last_step: int | None = None
    self.begin(0)

  @property
  def every_secs(self) -> float | None:
    """The time between saves; None where steps alone count."""
    return self._secs

  def begin(self, step: int) -> None:
    """Counts from here."""
    self._since_step = step
    self._since_time = time.monotonic()
    self._failed_at: float | None = None

  def take_over(self, step: int, saved_at: float) -> None:
    """Counts from what an earlier chief has saved last, so that it does not matter how
    often a chief is started again.

    Args:
      step: of its checkpoint; 0 where there is none.
      saved_at: seconds since 1970; 0 where that is not known.
    """
    self.begin(step)
    # Clocks of two machines need not agree.
    self._since_time -= max(time.time() - saved_at, 0.0)

  def saved(self, step: int, began_at: float) -> None:
    """Counts from a save that has succeeded.

    Args:
      step: of its checkpoint.
      began_at: when it began, by `time.monotonic`.
    """
    self.begin(step)
    self._since_time = began_at
    self.last_step = step

  def failed(self, step: int) -> str:
    """Lets the save be tried again after a while.

    Args:
      step: of the checkpoint that is missing.

    Returns:
      When, in words.
    """
    self._failed_at = time.monotonic()
    self._retry_step = None if self._steps is None else step + self._steps
    secs = f"{self._retry_secs():.0f} s"
    return secs if self._steps is None else f"{self._steps} steps or {secs}"

  def _retry_secs(self) -> float:
    if self._secs is None:
      return _LONGEST_RETRY_SECS
    return max(min(self._secs, _LONGEST_RETRY_SECS), _SHORTEST_RETRY_SECS)

  def is_due(self, step: int) -> bool:
    if step < self._since_step:  # Training went back to an earlier checkpoint.
      self.begin(step)
    if self._failed_at is not None:
      secs = time.monotonic() - self._failed_at
      by_steps = self._retry_step is not None and step >= self._retry_step
      return secs >= self._retry_secs() or (by_steps and secs >= _SHORTEST_RETRY_SECS)
    by_steps = self._steps is not None and step - self._since_step >= self._steps
    return by_steps or (
      self._secs is not None and time.monotonic() - self._since_time >= self._secs
    )
