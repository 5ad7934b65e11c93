"""When each step of a process ended, and how much CPU time the process had used.

The clock is the machine's monotonic one, the same for all of its processes, so that the
logs of several processes can be laid side by side (see `throughput`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable

import tensorflow as tf
from absl import flags

_SAMPLE_SECONDS = 0.2


def define_flags() -> None:
  """Defines the flags that `from_flags` reads."""
  flags.DEFINE_float("seconds", 15.0, "Train for so long after the first step.")
  flags.DEFINE_string("role_log", "", "Write times and CPU use to this file, as JSON.")


class RoleLog(tf.compat.v1.train.SessionRunHook):
  """Logs one process; as a hook also its steps, and it ends training.

  Args:
    path: where `write` puts the log; `''` is nowhere.
    batch_size: examples a step.
    seconds: time from the end of the first step to the last one.
    num_examples: returns a scalar of the graph, the examples of a batch, for batches
      that are not all of one size.
  """

  def __init__(
    self,
    path: str,
    batch_size: int,
    seconds: float,
    num_examples: Callable[[], tf.Tensor] | None = None,
  ):
    self._path = path
    self._num_examples = num_examples
    self._examples: list[int] = []
    self._batch_size = batch_size
    self._seconds = seconds
    self._step_times: list[float] = []
    self._cpu: list[tuple[float, float]] = []
    self._end = threading.Event()
    self._sampler = threading.Thread(target=self._sample_cpu, daemon=True)
    self._sampler.start()

  @classmethod
  def from_flags(cls, num_examples: Callable[[], tf.Tensor] | None = None) -> RoleLog:
    values = flags.FLAGS
    return cls(values.role_log, values.batch_size, values.seconds, num_examples)

  def before_run(self, run_context):
    del run_context
    if self._num_examples:
      return tf.compat.v1.train.SessionRunArgs(self._num_examples())
    return None

  def after_run(self, run_context, run_values) -> None:
    now = time.monotonic()
    self._step_times.append(now)
    if self._num_examples:
      self._examples.append(int(run_values.results))
    if now - self._step_times[0] >= self._seconds:
      run_context.request_stop()

  def examples_per_second(self) -> float:
    """From the first step to the last."""
    times = self._step_times
    if len(times) < 2:
      return 0.0
    examples = sum(self._examples[1:]) or (len(times) - 1) * self._batch_size
    return examples / (times[-1] - times[0])

  def write(self) -> None:
    """Ends the log and writes it."""
    self._end.set()
    self._sampler.join()
    if not self._path:
      return
    content = {
      "batch_size": self._batch_size,
      "step_times": self._step_times,
      "cpu": self._cpu,
    }
    if self._num_examples:
      content["examples"] = self._examples
    with open(f"{self._path}.tmp", "w") as file:
      json.dump(content, file)
    os.replace(f"{self._path}.tmp", self._path)

  def _sample_cpu(self) -> None:
    while True:
      self._cpu.append((time.monotonic(), time.process_time()))
      if self._end.wait(_SAMPLE_SECONDS):
        return
