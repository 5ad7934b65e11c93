"""The speed of a job, from the logs of its processes (see `role_log`)."""

from __future__ import annotations

import bisect
import dataclasses
import json
import os
from collections.abc import Sequence


class NotSteady(ValueError):
  """The workers did not train side by side for long enough to measure."""


@dataclasses.dataclass(frozen=True)
class Throughput:
  """A job's speed while all of its workers were training.

  Attributes:
    seconds: how long was measured.
    steps_per_second: of all workers together.
    examples_per_second: of all workers together.
    cpu_microseconds_per_example: CPU time of all processes, servers included.
  """

  seconds: float
  steps_per_second: float
  examples_per_second: float
  cpu_microseconds_per_example: float


def read_throughput(paths: Sequence[str], warmup_seconds: float) -> Throughput:
  """The speed between two moments: all workers have trained for `warmup_seconds`, and
  the first one ends.

  Args:
    paths: the logs of all processes of the job.
    warmup_seconds: time after a worker's first step that is not counted.

  Raises:
    NotSteady: the two moments are not in that order.
    FileNotFoundError: a process left no log.
  """
  logs = []
  for path in paths:
    with open(path) as file:
      logs.append({"name": os.path.basename(path), **json.load(file)})
  workers = [log for log in logs if log["step_times"]]
  if not workers:
    raise NotSteady("no process has made a step")
  begin = max(log["step_times"][0] for log in workers) + warmup_seconds
  end = min(log["step_times"][-1] for log in workers)
  seconds = end - begin
  if seconds <= 0:
    raise NotSteady(
      f"some worker ended {-seconds:.1f} s before the last one had warmed up"
    )
  steps = examples = 0
  for log in workers:
    times = log["step_times"]
    first, behind = bisect.bisect_right(times, begin), bisect.bisect_right(times, end)
    steps += behind - first
    if "examples" in log:  # Batches may be smaller than asked for.
      examples += sum(log["examples"][first:behind])
    else:
      examples += (behind - first) * log["batch_size"]
  cpu = sum(_cpu_at(log["cpu"], end) - _cpu_at(log["cpu"], begin) for log in logs)
  return Throughput(
    seconds=seconds,
    steps_per_second=steps / seconds,
    examples_per_second=examples / seconds,
    cpu_microseconds_per_example=1e6 * cpu / max(examples, 1),
  )


def _cpu_at(samples: Sequence[Sequence[float]], moment: float) -> float:
  """CPU seconds at a moment, interpolated between two samples."""
  after = bisect.bisect_left(samples, [moment])
  if after == 0 or after == len(samples):
    return samples[min(after, len(samples) - 1)][1]
  (t0, cpu0), (t1, cpu1) = samples[after - 1], samples[after]
  return cpu0 + (cpu1 - cpu0) * (moment - t0) / max(t1 - t0, 1e-9)
