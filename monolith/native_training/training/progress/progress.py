"""How far training is: log lines, a bar on a terminal, summaries, a progress file."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tqdm
from absl import logging

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.progress import summaries
from monolith.native_training.training.progress.metrics_endpoint import MetricsEndpoint
from monolith.native_training.training.progress.stream_metrics import StreamMetrics
from monolith.native_training.training.runner_config import RunnerConfig

_FILE_SECS = 1.0
_LOG_SECS = 60.0


class ProgressFile:
  """A JSON object in a file, replaced as a whole so that readers never see a part."""

  def __init__(self, path: str, cluster: Cluster):
    self._path = path
    self._content = {"role": cluster.task_type, "index": cluster.task_index}
    self._next = 0.0
    self._fails = False

  def update(self, force: bool = False, **content: Any) -> None:
    """Sets fields; writes them about once a second, or at once with `force`."""
    self._content.update(content)
    now = time.monotonic()
    if not self._path or (now < self._next and not force):
      return
    self._next = now + _FILE_SECS
    temporary = f"{self._path}.{os.getpid()}.tmp"
    try:
      with open(temporary, "w") as file:
        json.dump(self._content, file)
      os.replace(temporary, self._path)
      self._fails = False
    except OSError as error:  # A full disk must not end the training.
      if not self._fails:
        logging.error(
          "no progress can be told in %s, until that can be written again: %s",
          self._path,
          error,
        )
      self._fails = True


class _Speed:
  """Steps and examples per second since the last reading."""

  def __init__(self):
    self._since = time.monotonic()
    self._steps = 0
    self._examples = 0

  def count(self, examples: int) -> None:
    self._steps += 1
    self._examples += examples

  @property
  def steps(self) -> int:
    return self._steps

  @property
  def seconds(self) -> float:
    return time.monotonic() - self._since

  def read(self) -> tuple[float, float]:
    seconds = max(self.seconds, 1e-9)
    speed = self._steps / seconds, self._examples / seconds
    self.__init__()
    return speed


class ProgressReporter:
  """Reports the steps of one worker.

  The progress file has among others `examples` and `batches`, which this process has
  trained on, those that were lost with a server and trained again included, and
  `position`, how many batches of this worker's data are trained on after its last step;
  and `total_loss`, the sum of its examples' losses, each from before they were trained
  on.

  Args:
    config: how often to log and to write summaries.
    cluster: only the chief writes summaries into `model_dir`; another worker writes
      those of its streams, into `model_dir/worker-INDEX`.
    max_steps: where the bar ends; None where that is not known.
    on_report: called about once a second with the examples trained on so far.
    streams: metrics of the streams, if the worker reads any.
  """

  def __init__(
    self,
    config: RunnerConfig,
    cluster: Cluster,
    max_steps: int | None,
    on_report: Callable[[int], None] | None = None,
    streams: StreamMetrics | None = None,
  ):
    self._config = config
    self._file = ProgressFile(config.progress_file, cluster)
    self._on_report = on_report
    self._streams = streams
    self._endpoint = None
    if config.metrics_port:
      self._endpoint = MetricsEndpoint(
        config.metrics_host, config.metrics_port, streams
      )
    self._next_report = 0.0
    self._log_speed = _Speed()
    self._summary_speed = _Speed()
    self._writer = self._stream_writer = None
    if config.model_dir and cluster.is_chief:
      self._writer = tf.compat.v1.summary.FileWriterCache.get(config.model_dir)
    if config.model_dir and streams:
      self._stream_writer = self._writer or tf.compat.v1.summary.FileWriterCache.get(
        os.path.join(config.model_dir, f"worker-{cluster.worker_index}")
      )
    self._bar = None
    if sys.stderr.isatty():
      self._bar = tqdm.tqdm(total=max_steps, unit="step", dynamic_ncols=True)
    self._loss: dict[str, float] = {}
    self._total_loss = 0.0
    self._position: int | None = None
    self.examples = 0
    self.batches = 0

  def wants_summary(self) -> bool:
    """Whether the coming step's summaries will be written."""
    return bool(
      self._writer and self._summary_speed.steps + 1 >= self._config.save_summary_steps
    )

  def step_done(
    self,
    step: int,
    loss: float,
    examples: int,
    summary: bytes | None,
    position: int | None = None,
  ) -> None:
    """Reports one step.

    Args:
      step: the global step after it.
      loss: its loss.
      examples: how many examples it had.
      summary: the model's own merged summaries, if they were fetched.
      position: of this worker in its data after it.
    """
    self.examples += examples
    self.batches += 1
    self._position = position
    self._loss = {"loss": loss}
    self._total_loss += loss * examples
    self._log_speed.count(examples)
    self._summary_speed.count(examples)
    is_enough = self._log_speed.steps >= self._config.log_step_count_steps
    if is_enough or self._log_speed.seconds >= _LOG_SECS:
      self._log(step)
    if self._summary_speed.steps >= self._config.save_summary_steps:
      self._summarize(step, loss, summary)
    if self._bar is not None:
      self._bar.n = step
      self._bar.update(0)
    self._report(step)

  def idle(self, step: int) -> None:
    """Reports that there is nothing to train on at the moment."""
    self._report(step, "waiting")
    if self._streams and self._log_speed.seconds >= _LOG_SECS:
      self._log(step)

  def _report(self, step: int, state: str = "training") -> None:
    now = time.monotonic()
    if now < self._next_report:
      return
    self._next_report = now + _FILE_SECS
    if self._streams:
      self._streams.update()
    self._file.update(
      state=state, step=step, force=True, **self._counts(), **self._loss
    )
    if self._endpoint:
      counts = {"examples": self.examples, "batches": self.batches}
      self._endpoint.update(global_step=step, **counts, **self._loss)
    if self._on_report:
      self._on_report(self.examples)

  def _counts(self) -> dict[str, float]:
    counts = {
      "examples": self.examples,
      "batches": self.batches,
      "total_loss": self._total_loss,
    }
    if self._streams:
      counts.update(self._streams.values())
    if self._position is not None:
      counts["position"] = self._position
    return counts

  def saving(self) -> None:
    self._file.update(state="saving", force=True, **self._counts())

  def tables(self, step: int, stats: dict[str, tuple[int, int]]) -> None:
    """Reports rows and bytes of the tables."""
    self._file.update(
      tables={name: rows for name, (rows, _) in stats.items()},
      table_bytes={name: size for name, (_, size) in stats.items()},
    )
    progress_log.info(
      "tables at step %d: %s",
      step,
      ", ".join(f"{n}: {r:,} rows, {b / 2**20:.1f} MiB" for n, (r, b) in stats.items())
      or "none",
    )
    if self._endpoint:
      self._endpoint.tables({name: rows for name, (rows, _) in stats.items()})
    if self._writer:
      values = {f"tables/{name}/rows": rows for name, (rows, _) in stats.items()}
      summaries.add(self._writer, step, values)

  def evicted(self, step: int, rows: dict[str, int]) -> None:
    """Reports how many rows of each table have expired and were removed."""
    if any(rows.values()):
      progress_log.info(
        "evicted at step %d: %s",
        step,
        ", ".join(f"{n:,} rows of {name}" for name, n in rows.items() if n),
      )
    if self._writer:
      values = {f"tables/{name}/evicted": n for name, n in rows.items()}
      summaries.add(self._writer, step, values)

  def stopped(self, step: int) -> None:
    """Reports that this process leaves before training is over."""
    self._file.update(state="stopped", step=step, force=True, **self._counts())

  def finished(self, step: int) -> None:
    if self._streams:
      self._streams.update()
    self._file.update(
      state="done", step=step, force=True, **self._counts(), **self._loss
    )
    if self._bar is not None:
      self._bar.close()
    for writer in filter(None, {self._writer, self._stream_writer}):
      writer.flush()
    self.close()
    progress_log.info(
      "trained on %s examples, to step %d%s",
      f"{self.examples:,}",
      step,
      "".join(f", {name} {value:.4f}" for name, value in self._loss.items()),
    )

  def close(self) -> None:
    """Ends what runs beside training."""
    if self._endpoint:
      self._endpoint.close()
      self._endpoint = None

  def _log(self, step: int) -> None:
    steps, examples = self._log_speed.read()
    self._file.update(examples_per_second=examples)
    text = "waiting"
    if steps:
      text = f"loss {self._loss['loss']:.4f}, {steps:,.0f} steps/s"
      text += f", {examples:,.0f} examples/s"
    if self._streams:
      text += f", {self._streams.text()}"
    if self._bar is not None:
      self._bar.set_postfix_str(text, refresh=False)
    else:
      progress_log.info("step %d: %s", step, text)

  def _summarize(self, step: int, loss: float, summary: bytes | None) -> None:
    steps, examples = self._summary_speed.read()
    if self._stream_writer:
      values = {f"stream/{n}": v for n, v in self._streams.values().items()}
      for (_, topic, partition), lag in self._streams.lags.items():
        values[f"stream/lag/{topic}/{partition}"] = lag
      summaries.add(self._stream_writer, step, values)
    if self._writer:
      values = {"loss": loss, "steps_per_sec": steps, "examples_per_sec": examples}
      summaries.add(self._writer, step, values)
    if self._writer and summary:
      self._writer.add_summary(summary, step)
