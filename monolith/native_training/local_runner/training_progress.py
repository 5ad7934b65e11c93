"""How far a job is, from the progress files that its workers keep."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

from monolith.native_training.local_runner.worker_progress import WorkerProgress


@dataclasses.dataclass
class JobProgress:
  """The workers of a job taken together.

  Attributes:
    examples: trained on, by all workers, see `WorkerProgress`.
    examples_trained_again: trained on beyond those, see `WorkerProgress`.
    step: the global step.
    loss: of the workers' last steps, their mean; None before the first.
    mean_loss: of all examples so far, each from before it was trained on.
    lag: messages of streams that are still to come; 0 without streams.
    bad_messages: messages of streams that could not be parsed, each counted once by
      each worker that has read it.
    seconds: from the first worker's first step to the last one's last, as yet.
    tables: rows of each table, once the chief has saved.
    table_bytes: memory of each table.
    workers: how many workers have begun to train.
    is_done: whether all workers are done, and the chief has saved the model.
  """

  examples: int = 0
  examples_trained_again: int = 0
  step: int = 0
  loss: float | None = None
  mean_loss: float | None = None
  lag: int = 0
  bad_messages: int = 0
  seconds: float = 0.0
  tables: dict[str, int] = dataclasses.field(default_factory=dict)
  table_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
  workers: int = 0
  is_done: bool = False

  @property
  def examples_per_second(self) -> float:
    return self.examples / self.seconds if self.seconds > 0 else 0.0


class ProgressFiles:
  """Follows the progress files of a job's workers.

  Args:
    paths: one a worker; they need not exist yet. When a file changes to and from state
      `training` is read off its time stamp, so `read` is to be called several times a
      second.
  """

  def __init__(self, paths: Sequence[str]):
    self._paths = list(paths)
    self._contents: dict[str, dict] = {}
    self._workers = {path: WorkerProgress() for path in paths}
    self._begun: dict[str, float] = {}
    self._trained_until: dict[str, float] = {}

  def read(self) -> JobProgress:
    """The state now."""
    for path in self._paths:
      self._read_file(path)
    contents = list(self._contents.values())
    losses = [c["loss"] for c in contents if c.get("loss") is not None]
    progress = JobProgress(
      examples=sum(worker.examples for worker in self._workers.values()),
      examples_trained_again=sum(
        worker.examples_trained_again for worker in self._workers.values()
      ),
      step=max((c.get("step", 0) for c in contents), default=0),
      loss=sum(losses) / len(losses) if losses else None,
      lag=sum(int(c.get("lag", 0)) for c in contents),
      bad_messages=sum(int(c.get("bad_messages", 0)) for c in contents),
      workers=len(self._begun),
      is_done=[c.get("state") for c in contents] == ["done"] * len(self._paths),
    )
    workers = self._workers.values()
    if loss_examples := sum(worker.loss_examples for worker in workers):
      progress.mean_loss = sum(w.total_loss for w in workers) / loss_examples
    for content in contents:
      progress.tables.update(content.get("tables") or {})
      progress.table_bytes.update(content.get("table_bytes") or {})
    if self._begun:
      progress.seconds = max(self._trained_until.values()) - min(self._begun.values())
    return progress

  def _read_file(self, path: str) -> None:
    try:
      with open(path) as file:
        content = json.load(file)
        written_at = os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError):
      return
    is_new = path not in self._contents
    was_training = not is_new and self._contents[path].get("state") == "training"
    self._contents[path] = content
    self._workers[path].see(content)
    if content.get("state") == "training" or was_training:
      self._begun.setdefault(path, written_at)
      self._trained_until[path] = written_at
