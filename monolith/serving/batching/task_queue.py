"""Requests that wait for their batch."""

from __future__ import annotations

import asyncio
import collections
import dataclasses

from monolith.serving.batching.computation import Arrays
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature


@dataclasses.dataclass(eq=False)
class Task:
  """A request that waits; `size` is its number of examples."""

  feeds: Arrays
  size: int
  result: asyncio.Future
  enqueued: float


class TaskQueue:
  """Requests of one signature that wait, the oldest first; with `merges`, such as fit
  into one batch."""

  def __init__(self, servable: Servable, signature: Signature, merges: bool):
    self.servable = servable
    self.signature = signature
    self.merges = merges
    self.tasks: collections.deque[Task] = collections.deque()
    self.size = 0
    self.timer: asyncio.TimerHandle | None = None

  def batches(self, max_size: int) -> float:
    """How many full batches wait here, where one has `max_size` examples."""
    return self.size / max_size if self.merges else len(self.tasks)

  def add(self, task: Task) -> None:
    self.tasks.append(task)
    self.size += task.size

  def remove(self, task: Task) -> None:
    """Removes what was given up, if it is still here."""
    if task in self.tasks:
      self.tasks.remove(task)
      self.size -= task.size

  def clear(self) -> None:
    self.tasks.clear()
    self.size = 0

  def take(self, max_size: int) -> list[Task]:
    """Removes and returns what goes into the next batch, without what was given up."""
    batch, size = [], 0
    while self.tasks and (not batch or size + self.tasks[0].size <= max_size):
      task = self.tasks.popleft()
      self.size -= task.size
      if not task.result.done():
        batch.append(task)
        size += task.size
        if not self.merges:
          break
    return batch

  def stop_timer(self) -> None:
    if self.timer is not None:
      self.timer.cancel()
      self.timer = None
