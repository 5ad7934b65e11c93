"""Runs requests in threads, those of the same signature together.

A batch leaves when a thread is free and it is full, or no other batch is running, or
its oldest request has waited for the batch timeout; of several, that whose oldest
request has waited longest. So nobody waits where nothing is going on, what arrives
while a batch is running goes together, and no model starves another.

Everything here belongs to the thread of the event loop; only `_compute` runs in others.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from monolith.serving.batching.options import BatchingOptions
from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature, batch_size

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(eq=False)
class _Task:
  """A request that waits; `size` is its number of examples."""

  feeds: Arrays
  size: int
  result: asyncio.Future
  enqueued: float


class _Queue:
  """Requests of one signature that wait, the oldest first; with `merges`, such as fit
  into one batch."""

  def __init__(self, servable: Servable, signature: Signature, merges: bool):
    self.servable = servable
    self.signature = signature
    self.merges = merges
    self.tasks: collections.deque[_Task] = collections.deque()
    self.size = 0
    self.timer: asyncio.TimerHandle | None = None

  def add(self, task: _Task) -> None:
    self.tasks.append(task)
    self.size += task.size

  def remove(self, task: _Task) -> None:
    """Removes what was given up, if it is still here."""
    if task in self.tasks:
      self.tasks.remove(task)
      self.size -= task.size

  def clear(self) -> None:
    self.tasks.clear()
    self.size = 0

  def take(self, max_size: int) -> list[_Task]:
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


class Batcher:
  """Computes predictions.

  Args:
    options: bounds of batches.
    on_batch: told the number of examples of every batch.
  """

  def __init__(
    self, options: BatchingOptions, on_batch: Callable[[int], None] = lambda _: None
  ):
    self._options = options
    self._on_batch = on_batch
    self._timeout = options.batch_timeout_micros / 1e6
    self._max_waiting = options.max_batch_size * options.max_enqueued_batches
    self._threads = concurrent.futures.ThreadPoolExecutor(
      options.num_batch_threads, thread_name_prefix="batch"
    )
    self._free = options.num_batch_threads
    self._queues: dict[tuple, _Queue] = {}
    self._running: set[_Task] = set()
    self._pump_is_due = False

  @property
  def _is_running(self) -> bool:
    return self._free < self._options.num_batch_threads

  @property
  def waiting(self) -> int:
    """Examples that wait."""
    return sum(queue.size for queue in self._queues.values())

  async def run(
    self, servable: Servable, signature: Signature, feeds: Arrays
  ) -> Arrays:
    """Computes the outputs of one request, alone or among others.

    Given up when it is cancelled: it is not run then, unless that has begun.

    Args:
      servable: that the caller retains.
      signature: of it.
      feeds: all inputs, checked.

    Raises:
      ServingError: of this request.
    """
    size = batch_size(feeds) if signature.is_batch else 1
    if self._options.enabled and size > self._options.max_batch_size:
      raise invalid_argument(
        f"Task size {size} is larger than maximum input batch size "
        f"{self._options.max_batch_size}"
      )
    loop = asyncio.get_running_loop()
    task = _Task(feeds, max(size, 1), loop.create_future(), loop.time())
    merges = self._options.enabled and signature.is_batch
    key = self._key(servable, signature, feeds, merges)
    queue = self._queues.get(key) or _Queue(servable, signature, merges)
    if queue.tasks and queue.size + task.size > self._max_waiting:
      raise ServingError(
        Code.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; "
        f"{queue.size} examples wait",
      )
    self._queues[key] = queue
    queue.add(task)
    if not self._pump_is_due:
      # After what else has arrived by now.
      self._pump_is_due = True
      loop.call_soon(self._pump)
    try:
      return await task.result
    except asyncio.CancelledError:
      queue.remove(task)  # Now, so that it keeps nobody out.
      self._drop_empty()
      raise

  def give_up(self, error: ServingError) -> None:
    """Fails all requests: what waits is not run, what runs is not waited for."""
    for task in [*self._running, *(t for q in self._queues.values() for t in q.tasks)]:
      if not task.result.done():
        task.result.set_exception(error)
    for queue in self._queues.values():
      queue.clear()
    self._drop_empty()

  async def close(self) -> None:
    """Ends the threads, after what they run."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, self._threads.shutdown)

  def _key(
    self, servable: Servable, signature: Signature, feeds: Arrays, merges: bool
  ) -> tuple:
    shapes = (feeds[name].shape[1:] for name in signature.inputs) if merges else ()
    return (id(servable), signature.name, *shapes)

  def _pump(self) -> None:
    """Starts the batches that are due, the longest waiting first, while threads are
    free."""
    self._pump_is_due = False
    while self._free and (due := self._due()):
      self._start(min(due, key=lambda queue: queue.tasks[0].enqueued))
      self._drop_empty()

  def _due(self) -> list[_Queue]:
    """The queues that a batch may leave; the others have their timers set."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    due = []
    for queue in self._queues.values():
      wait = queue.tasks[0].enqueued + self._timeout - now
      full = queue.size >= self._options.max_batch_size
      if full or wait <= 0 or not queue.merges or not self._is_running:
        due.append(queue)
      elif queue.timer is None:
        queue.timer = loop.call_later(wait, self._timer_fired, queue)
    return due

  def _drop_empty(self) -> None:
    for key, queue in list(self._queues.items()):
      if not queue.tasks:
        queue.stop_timer()
        del self._queues[key]

  def _timer_fired(self, queue: _Queue) -> None:
    queue.timer = None
    self._pump()

  def _start(self, queue: _Queue) -> None:
    batch = queue.take(self._options.max_batch_size)
    if not batch:
      return
    self._free -= 1
    self._running.update(batch)
    self._on_batch(sum(task.size for task in batch))
    queue.servable.retain()
    loop = asyncio.get_running_loop()
    feeds = [task.feeds for task in batch]
    work = self._threads.submit(_compute, queue.servable, queue.signature, feeds)
    work.add_done_callback(
      lambda work: loop.call_soon_threadsafe(self._finish, queue.servable, batch, work)
    )

  def _finish(
    self, servable: Servable, batch: list[_Task], work: concurrent.futures.Future
  ) -> None:
    self._free += 1
    self._running.difference_update(batch)
    servable.release()
    results = [work.exception()] * len(batch) if work.exception() else work.result()
    for task, result in zip(batch, results, strict=True):
      if task.result.done():
        continue
      if isinstance(result, BaseException):
        task.result.set_exception(result)
      else:
        task.result.set_result(result)
    self._pump()


class _NotByExample(ServingError):
  """Outputs that cannot be given to several requests, whatever these are."""


def _compute(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays | ServingError]:
  """Runs requests as one, and halves of them where that fails, so that a bad one harms
  no other."""
  if len(requests) == 1:
    return [_alone(servable, signature, requests[0])]
  try:
    return _together(servable, signature, requests)
  except _NotByExample:
    return [_alone(servable, signature, feeds) for feeds in requests]
  except ServingError:
    half = len(requests) // 2
    return [
      *_compute(servable, signature, requests[:half]),
      *_compute(servable, signature, requests[half:]),
    ]


def _alone(
  servable: Servable, signature: Signature, feeds: Arrays
) -> Arrays | ServingError:
  try:
    return servable.run(signature, feeds)
  except ServingError as error:
    return error


def _together(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays]:
  merged = {
    name: np.concatenate([feeds[name] for feeds in requests])
    for name in signature.inputs
  }
  outputs = servable.run(signature, merged)
  total = batch_size(merged)
  for name, value in outputs.items():
    if value.ndim == 0 or len(value) != total:
      raise _NotByExample(
        Code.FAILED_PRECONDITION, f"output {name!r} is not one value an example"
      )
  ends = np.cumsum([batch_size(feeds) for feeds in requests])[:-1]
  parts = {name: np.split(value, ends) for name, value in outputs.items()}
  return [
    {name: values[index] for name, values in parts.items()}
    for index in range(len(requests))
  ]
