"""Runs requests in threads, those of the same signature together.

A batch leaves when a thread is free and it is full, or no other batch is running, or
its oldest request has waited for the batch timeout; of several, that whose oldest
request has waited longest. So nobody waits where nothing is going on, and what arrives
while a batch is running goes together.

A model that runs nothing may begin a batch also when all threads are busy, with one
more. So however long a model computes, no other waits for its threads; they share the
processors. Versions and signatures of one model do wait for each other.

Everything here belongs to the thread of the event loop; only `compute` runs in others.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
from collections.abc import Callable

from monolith.serving.batching.computation import Arrays, compute
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.batching.task_queue import Task, TaskQueue
from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature, batch_size


class Batcher:
  """Computes predictions.

  Args:
    options: bounds of batches.
    num_models: whose servables are run.
    on_batch: told the number of examples of every batch.
  """

  def __init__(
    self,
    options: BatchingOptions,
    num_models: int = 1,
    on_batch: Callable[[int], None] = lambda _: None,
  ):
    self._options = options
    self._on_batch = on_batch
    self._timeout = options.batch_timeout_micros / 1e6
    self._num_models = num_models
    self._threads = concurrent.futures.ThreadPoolExecutor(
      # The others have one each where one model has all.
      options.num_batch_threads + num_models - 1,
      thread_name_prefix="batch",
    )
    # Batches that run, by the model's name.
    self._batches: collections.Counter[str] = collections.Counter()
    self._queues: dict[tuple, TaskQueue] = {}
    self._running: set[Task] = set()
    self._pump_is_due = False

  @property
  def _has_free_thread(self) -> bool:
    return self._batches.total() < self._options.num_batch_threads

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
      ServingError, MemoryError: of this request; and whatever else a model raises.
    """
    size = batch_size(feeds) if signature.is_batch else 1
    if self._options.enabled and size > self._options.max_batch_size:
      raise invalid_argument(
        f"Task size {size} is larger than maximum input batch size "
        f"{self._options.max_batch_size}"
      )
    loop = asyncio.get_running_loop()
    task = Task(feeds, max(size, 1), loop.create_future(), loop.time())
    merges = self._merges(servable, signature)
    key = self._key(servable, signature, feeds, merges)
    queue = self._queues.get(key) or TaskQueue(servable, signature, merges)
    if self._options.enabled:
      self._check_room(queue, task)
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
    finally:
      del task  # Its error has this frame, which so does not have the error.

  def give_up(self, code: Code, message: str) -> None:
    """Fails all requests: what waits is not run, what runs is not waited for."""
    for task in [*self._running, *(t for q in self._queues.values() for t in q.tasks)]:
      if not task.result.done():
        task.result.set_exception(ServingError(code, message))
    for queue in self._queues.values():
      queue.clear()
    self._drop_empty()

  async def close(self) -> None:
    """Ends the threads, after what they run."""
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, self._threads.shutdown)

  def _merges(self, servable: Servable, signature: Signature) -> bool:
    if not self._options.enabled or not signature.is_batch:
      return False
    return servable.by_example(signature) is not False

  def _key(
    self, servable: Servable, signature: Signature, feeds: Arrays, merges: bool
  ) -> tuple:
    shapes = (feeds[name].shape[1:] for name in signature.inputs) if merges else ()
    return (id(servable), signature.name, *shapes)

  def _check_room(self, queue: TaskQueue, task: Task) -> None:
    """Raises `ServingError` where a task is too much beside those of its signature,
    in whichever queues they wait."""
    largest = self._options.max_batch_size
    waiting = sum(
      other.batches(largest)
      for other in self._queues.values()
      if other.servable is queue.servable and other.signature is queue.signature
    )
    own = task.size / largest if queue.merges else 1
    if waiting and waiting + own > self._options.max_enqueued_batches:
      raise ServingError(
        Code.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full; "
        f"{waiting:.3g} full batches wait",
      )

  def _pump(self) -> None:
    """Starts the batches that are due and have a thread, the longest waiting first."""
    self._pump_is_due = False
    while self._may_start() and (due := self._due()):
      self._start(min(due, key=lambda queue: queue.tasks[0].enqueued))
      self._drop_empty()

  def _may_start(self, model: str | None = None) -> bool:
    """Whether a model, or any of them, may begin a batch."""
    if self._has_free_thread:
      return True
    if model is None:
      return len(self._batches) < self._num_models
    return model not in self._batches

  def _due(self) -> list[TaskQueue]:
    """The queues that a batch may leave; the others have their timers set, or wait for
    a thread."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    due = []
    for queue in self._queues.values():
      if not self._may_start(queue.servable.name):
        continue
      wait = queue.tasks[0].enqueued + self._timeout - now
      full = queue.size >= self._options.max_batch_size
      if full or wait <= 0 or not queue.merges or not self._batches:
        due.append(queue)
      elif queue.timer is None:
        queue.timer = loop.call_later(wait, self._timer_fired, queue)
    return due

  def _drop_empty(self) -> None:
    for key, queue in list(self._queues.items()):
      if not queue.tasks:
        queue.stop_timer()
        del self._queues[key]

  def _timer_fired(self, queue: TaskQueue) -> None:
    queue.timer = None
    self._pump()

  def _start(self, queue: TaskQueue) -> None:
    batch = queue.take(self._options.max_batch_size)
    if not batch:
      return
    self._batches[queue.servable.name] += 1
    self._running.update(batch)
    self._on_batch(sum(task.size for task in batch))
    queue.servable.retain()
    loop = asyncio.get_running_loop()
    feeds = [task.feeds for task in batch]
    work = self._threads.submit(compute, queue.servable, queue.signature, feeds)
    work.add_done_callback(
      lambda work: loop.call_soon_threadsafe(self._finish, queue.servable, batch, work)
    )

  def _finish(
    self, servable: Servable, batch: list[Task], work: concurrent.futures.Future
  ) -> None:
    self._batches[servable.name] -= 1
    if not self._batches[servable.name]:
      del self._batches[servable.name]
    self._running.difference_update(batch)
    servable.release()
    error = work.exception()  # What no model should raise, such as SystemExit.
    if error:
      results = [ServingError(Code.INTERNAL, repr(error)) for _ in batch]
    else:
      results = work.result()
    for task, result in zip(batch, results, strict=True):
      if task.result.done():
        continue
      if isinstance(result, Exception):
        task.result.set_exception(result)
      else:
        task.result.set_result(result)
    self._pump()
