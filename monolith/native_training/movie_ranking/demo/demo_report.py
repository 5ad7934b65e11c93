"""What the demo says in the end, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from monolith.native_training.local_files import whole_file


@dataclasses.dataclass
class StreamResult:
  """What there is to say of a stream.

  Attributes:
    topic: of somebody else, that was trained on; `""` where the demo itself has sent
      the ratings of its data set.
    progressive_rmse: root mean squared error, in stars, of the predictions for all
      ratings, each made before the rating was trained on.
    lag: messages that were not trained on in the end.
    bad_messages: messages that could not be parsed, each counted once by each worker
      that has read it.
    sent: ratings that the demo's own producer had sent where training ended before it;
      None where all were sent, or others sent them.
    to_send: how many it would have sent; None where `sent` is.
  """

  topic: str
  progressive_rmse: float
  lag: int
  bad_messages: int
  sent: int | None
  to_send: int | None


@dataclasses.dataclass
class DemoResult:
  """The outcome of a run; the fields are the keys of `--result_json`.

  Attributes:
    training_type: `batch` or `stream`.
    dataset: what was really trained on: `100k`, `1m`, `25m` or `synthetic`; beside
      somebody else's topic, what was only evaluated on.
    requested_dataset: what was asked for.
    examples: trained on, all epochs and workers together. In batch training none counts
      twice because a process was started again; of a stream a rating that is read
      again comes in another batch, and counts again.
    examples_trained_again: trained on once more, because the model had gone back to a
      checkpoint.
    restarts: how often each server and worker was started again; `{}` without
      `--restart_failed`.
    seconds: from the first training step to the last.
    total_seconds: of the whole run, from start-up to the end of the evaluation.
    examples_per_second: `examples / seconds`.
    test_rmse: root mean squared error on the held-out ratings, in stars.
    stream: None in batch training.
    tables: rows of each table.
    table_bytes: memory of each table on all servers.
    peak_memory_bytes: largest resident memory of each process.
    model_dir: checkpoints and TensorBoard logs.
  """

  training_type: str
  dataset: str
  requested_dataset: str
  examples: int
  examples_trained_again: int
  restarts: dict[str, int]
  seconds: float
  total_seconds: float
  examples_per_second: float
  test_rmse: float
  stream: StreamResult | None
  tables: dict[str, int]
  table_bytes: dict[str, int]
  peak_memory_bytes: dict[str, int]
  model_dir: str

  def as_text(self) -> str:
    """A short table."""
    rows = [
      ("ratings", self._ratings()),
      ("examples trained", f"{self.examples:,}"),
      *self._restart_rows(),
      ("seconds", f"{self.seconds:.1f} (whole run {self.total_seconds:.1f})"),
      ("examples/s", f"{self.examples_per_second:,.0f}"),
      ("test RMSE", f"{self.test_rmse:.4f} stars, on the tenth held out"),
      *self._stream_rows(),
      ("tables", self._tables()),
      ("peak memory", ", ".join(self._memory())),
      ("model", self.model_dir),
      ("TensorBoard", f"tensorboard --logdir={self.model_dir}"),
    ]
    width = max(len(name) for name, _ in rows)
    title = f"Movie ranking, {self.training_type} training"
    return "\n".join([title] + [f"  {name:<{width}}  {text}" for name, text in rows])

  def write_json(self, path: str) -> None:
    """Writes all fields, as `whole_file.write_text` does."""
    fields: dict[str, Any] = dataclasses.asdict(self)
    whole_file.write_text(path, json.dumps(fields, indent=2) + "\n")

  def _restart_rows(self) -> list[tuple[str, str]]:
    if not self.restarts:
      return []
    named = [f"{name}: {count}" for name, count in self.restarts.items() if count]
    return [
      ("trained again", f"{self.examples_trained_again:,}"),
      ("restarts", ", ".join(named) or "none"),
    ]

  def _stream_rows(self) -> list[tuple[str, str]]:
    if not self.stream:
      return []
    rmse = f"{self.stream.progressive_rmse:.4f} stars, each rating before its training"
    rows = [
      ("progressive RMSE", rmse),
      ("messages", f"{self.stream.bad_messages:,} bad, {self.stream.lag:,} left"),
    ]
    if self.stream.sent is not None:
      rows.append(("sent", f"only {self.stream.sent:,} of {self.stream.to_send:,}"))
    return rows

  def _ratings(self) -> str:
    text = ratings_name(self.dataset)
    if self.dataset != self.requested_dataset:
      text += f" ({self.requested_dataset} was asked for, but cannot be downloaded)"
    if self.stream and self.stream.topic:
      text = f"topic {self.stream.topic}; evaluated on {text}"
    return text

  def _tables(self) -> str:
    return ", ".join(
      f"{name}: {rows:,} rows, {_megabytes(self.table_bytes.get(name, 0))}"
      for name, rows in sorted(self.tables.items())
    )

  def _memory(self) -> list[str]:
    return [
      f"{name} {_megabytes(size)}" for name, size in self.peak_memory_bytes.items()
    ]


def ratings_name(dataset: str) -> str:
  """What people call the ratings of `--dataset`."""
  if dataset == "synthetic":
    return "SYNTHETIC ratings (generated, no real data)"
  return f"MovieLens {dataset} ratings"


def _megabytes(size: int) -> str:
  return f"{size / 1e6:,.1f} MB" if size < 10e6 else f"{size / 1e6:,.0f} MB"
