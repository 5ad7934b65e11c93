"""What one worker has trained on, over all processes that have played its part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class WorkerProgress:
  """Follows the contents of a worker's progress file, each given to `see` in turn.

  The file tells of one process: `batches` and `examples` that it has trained on in all,
  and `position`, how many batches of the worker's data the model counts as trained. A
  worker that is started again writes the same file anew and counts its own batches from
  0. What it and its predecessors have trained beyond the positions was trained again:
  the model has gone back to a checkpoint in between.

  A process that is killed has trained for up to a second more than its file says, so
  what is told of batches trained again is the least that it can be. Files without
  `batches` or `position` tell nothing of it.

  Attributes:
    examples: trained on, the batches of each position counted once; it never falls. Of
      a stream, messages that are read again come in other batches, and count again.
    examples_trained_again: trained on beyond those.
    total_loss: sum of the losses of all examples that were trained on, those trained
      again included, and
    loss_examples: their number.
  """

  def __init__(self):
    self._seen: Mapping[str, Any] | None = None
    self._position = 0
    self._farthest = 0
    self._batch_size = 0.0
    self._examples = 0.0
    self._trained_again = 0.0
    self.total_loss = 0.0
    self.loss_examples = 0

  @property
  def examples(self) -> int:
    return round(self._examples)

  @property
  def examples_trained_again(self) -> int:
    return round(self._trained_again)

  def see(self, content: Mapping[str, Any]) -> None:
    """Takes a new content of the file into account."""
    if not _has_position(content):
      self._examples = max(self._examples, content.get("examples", 0))
      # One that has told of it does not cease to: the next process begins.
      self._seen = self._seen and {}
      return
    batches, position = content["batches"], content["position"]
    before = self._seen
    self._add_loss(before, content)
    if not before or _is_another_process(before, content):
      self._begin(position - batches, is_first=before is None)
      before = {}
    trained = batches - before.get("batches", 0)
    if trained > 0:
      new_examples = content.get("examples", 0) - before.get("examples", 0)
      self._batch_size = new_examples / trained
    went_on = position - self._position
    self._trained_again += max(trained - went_on, 0) * self._batch_size
    self._examples += max(position - self._farthest, 0) * self._batch_size
    self._position = position
    self._farthest = max(self._farthest, position)
    self._seen = content

  def _add_loss(
    self, before: Mapping[str, Any] | None, content: Mapping[str, Any]
  ) -> None:
    if not before or _is_another_process(before, content):
      before = {}
    self.total_loss += content.get("total_loss", 0.0) - before.get("total_loss", 0.0)
    self.loss_examples += content.get("examples", 0) - before.get("examples", 0)

  def _begin(self, position: int, is_first: bool) -> None:
    """A process begins at a position."""
    position = max(position, 0)
    if is_first:  # What an earlier run has trained is none of this run's.
      self._farthest = position
      self._examples = 0.0  # Known more exactly from now on.
    else:
      went_back = self._position - position
      self._trained_again += max(went_back, 0) * self._batch_size
    self._position = position


def _has_position(content: Mapping[str, Any]) -> bool:
  return all(isinstance(content.get(key), int) for key in ("batches", "position"))


def _is_another_process(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
  return now["batches"] < before["batches"] or any(
    now.get(key) != before.get(key) for key in ("pid", "incarnation")
  )
