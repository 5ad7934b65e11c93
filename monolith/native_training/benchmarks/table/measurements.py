"""What a host process can be asked for: to fill, check and time tables."""

from __future__ import annotations

import gc
import importlib
import inspect
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monolith.native_training.benchmarks.table import resident_memory
from monolith.native_training.benchmarks.table.subject import Subject
from monolith.native_training.benchmarks.table.workload import Workload

_PACKAGE = "monolith.native_training.benchmarks.table"
_WARMUP_BATCHES = 4


class WrongValues(RuntimeError):
  """A table does not hold what NumPy says it should."""


class Host:
  """Holds subjects by name.

  Args:
    workload: sizes and data.
    threads: of an op, and for ops.
    module: where the subjects are.
  """

  def __init__(self, workload: Workload, threads: int, module: str):
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    self._workload = workload
    self._classes = importlib.import_module(f"{_PACKAGE}.{module}").SUBJECTS
    self._calls: dict[str, list[Callable[[], object]]] = {}

  def hello(self) -> dict:
    """What runs here."""
    return {"tensorflow": tf.__version__, "fingerprint": self._workload.fingerprint()}

  def prepare_lookup(self, system: str) -> dict:
    """Fills a table, checks it, and makes it ready for `run`."""
    subject = self._classes[system](self._workload)
    self._fill(subject, subject.insert)
    batches = self._workload.uniform_batches()
    lookup = _compiled(subject.lookup)
    wanted = self._workload.row_of(batches[0])
    _check(system, lookup(subject.keys(batches[0])), wanted, tolerance=0)
    self._keep(system, [_call(lookup, subject.keys(b)) for b in batches])
    return {}

  def prepare_update(self, system: str) -> dict:
    """As `prepare_lookup`, for training; every row has its optimizer's state."""
    subject = self._classes[system](self._workload)
    self._fill(subject, subject.insert)
    update = _compiled(subject.update)
    zeros = tf.zeros([self._workload.batch, self._workload.dim])
    for numbers in self._workload.fill_batches():
      update(subject.keys(numbers), zeros[: len(numbers)])
    batches = self._workload.zipf_batches()
    gradients = self._workload.gradients()
    update(subject.keys(batches[0]), tf.constant(gradients))
    got = _compiled(subject.lookup)(subject.keys(batches[0]))
    wanted = self._workload.rows_after_adagrad(batches[0], gradients)
    _check(system, got, wanted, tolerance=1e-5)
    fed = tf.constant(gradients)
    self._keep(system, [_call(update, subject.keys(b), fed) for b in batches])
    return {}

  def run(self, system: str, seconds: float) -> dict:
    """Calls what was prepared for about so long, and counts ids."""
    calls = self._calls[system]
    for call in calls[:_WARMUP_BATCHES]:
      call()
    done = 0
    begin = now = time.perf_counter()
    while now - begin < seconds:
      calls[done % len(calls)]()
      done += 1
      now = time.perf_counter()
    return {"ids_per_second": done * self._workload.batch / (now - begin)}

  def grow(self, system: str) -> dict:
    """Lets a table grow from empty; memory is what the process gained by it."""
    rows = self._workload.row_of(np.arange(self._workload.batch))
    fed = tf.constant(rows)
    warmup = self._classes[system](self._workload)
    grow = _compiled(warmup.grow)
    grow(warmup.keys(np.arange(self._workload.batch)), fed)
    del warmup, grow
    gc.collect()
    subject = self._classes[system](self._workload)
    grow, lookup = _compiled(subject.grow), _compiled(subject.lookup)
    batches = self._workload.fill_batches()
    samples = [*self._workload.uniform_batches(), batches[0], batches[-1]]
    initial = [np.asarray(lookup(subject.keys(s))) for s in samples]
    # The first call readies the graph: one that leaves the table empty.
    grow(subject.keys(np.arange(0)), fed[:0])
    before = resident_memory.resident_bytes()
    resident_memory.reset_peak()
    seconds = []
    for numbers in batches:
      keys, part = subject.keys(numbers), fed[: len(numbers)]
      begin = time.perf_counter()
      grow(keys, part)
      seconds.append(time.perf_counter() - begin)
    ids = self._workload.ids
    answer = {
      "bytes_per_id": (resident_memory.resident_bytes() - before) / ids,
      "peak_bytes_per_id": (resident_memory.peak_bytes() - before) / ids,
      "median_milliseconds": 1e3 * float(np.median(seconds)),
      "slowest_milliseconds": 1e3 * max(seconds),
      "million_ids_per_second": ids / sum(seconds) / 1e6,
    }
    if hasattr(subject, "memory_bytes"):
      answer["accounted_bytes_per_id"] = subject.memory_bytes() / ids
    for numbers, start in zip(samples, initial, strict=True):
      wanted = subject.grown(start, rows[numbers % self._workload.batch])
      _check(system, lookup(subject.keys(numbers)), wanted, tolerance=1e-6)
    return answer

  def _fill(self, subject: Subject, write: Callable) -> None:
    write = _compiled(write)
    for numbers in self._workload.fill_batches():
      write(subject.keys(numbers), tf.constant(self._workload.row_of(numbers)))

  def _keep(self, system: str, calls: list[Callable[[], object]]) -> None:
    self._calls[system] = calls


def _compiled(method: Callable) -> Callable:
  """The method as one graph for batches of any length, traced already."""
  names = inspect.signature(method).parameters
  subject = method.__self__
  specs = [tf.TensorSpec([None], tf.int64)]
  if len(names) > 1:
    specs.append(tf.TensorSpec([None, subject.workload.dim], tf.float32))
  function = tf.function(method, input_signature=specs)
  function.get_concrete_function()
  return function


def _call(function: Callable, *arguments) -> Callable[[], object]:
  return lambda: function(*arguments)


def _check(system: str, got, wanted: np.ndarray, tolerance: float) -> None:
  difference = float(np.max(np.abs(np.asarray(got, np.float64) - wanted)))
  if not difference <= tolerance:
    raise WrongValues(f"{system}: a value differs from NumPy's by {difference}")
