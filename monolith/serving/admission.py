"""Counts the requests under way, and refuses those beyond the limits."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from absl import logging

from monolith.serving.errors import Code, ServingError
from monolith.serving.metrics import Metrics

PREDICT = "Predict"


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a client may ask for.

  Attributes:
    max_request_bytes: size of a message or body, and of each array in it, the bytes of
      strings included.
    max_rest_body_bytes: of a body of HTTP, if that is less.
    max_concurrent_requests: predictions, of both protocols together.
    max_bytes_in_flight: bodies of all requests under way, or what they become when they
      are decoded if that is more, and their answers until they are written, of both
      protocols.
    max_connections: of each protocol.
  """

  max_request_bytes: int = 16 * 1024 * 1024
  max_rest_body_bytes: int = 4 * 1024 * 1024
  max_concurrent_requests: int = 1024
  max_bytes_in_flight: int = 1024 * 1024 * 1024
  max_connections: int = 4096


class Call:
  """A request under way; made by `Admission.begin`, and over when it is closed.

  Attributes:
    method: of both protocols.
    protocol: it came by.
    model: its name, when it is known.
    is_late: it was cancelled for its deadline.
    code: of its answer.
    size: bytes that it holds.
    began: by `time.perf_counter`.
  """

  def __init__(self, admission: Admission, method: str, protocol: str):
    self._admission = admission
    self.method = method
    self.protocol = protocol
    self.model = ""
    self.is_late = False
    self.code = Code.OK
    self.size = 0
    self.began = time.perf_counter()

  @contextmanager
  def answering(self) -> Iterator[None]:
    """Makes whatever is raised while it is answered a `ServingError`.

    Raises:
      ServingError: that, or there are too many requests.
    """
    try:
      self._admission.check(self)
      yield
    except ServingError as error:
      self.code = error.code
      raise
    except asyncio.CancelledError:
      self.code = Code.DEADLINE_EXCEEDED if self.is_late else Code.CANCELLED
      raise
    except MemoryError as error:
      self.code = Code.RESOURCE_EXHAUSTED
      logging.error("no memory for a %s request: %s", self.method, error)
      raise ServingError(self.code, "not enough memory for the request") from None
    except Exception as error:
      self.code = Code.INTERNAL
      logging.exception("a %s request failed", self.method)
      message = "internal error, see the server's log"
      raise ServingError(self.code, message) from error

  def grow(self, size: int) -> None:
    """Counts bytes of its body that have come.

    Raises:
      ServingError: those of all requests are too many.
    """
    self._admission.take(size)
    self.size += size

  def expand(self, size: int) -> None:
    """Counts what its body becomes when it is decoded, as far as that is larger.

    Args:
      size: bytes of that.

    Raises:
      ServingError: those of all requests are too many.
    """
    self.grow(max(0, size - self.size))

  def answer(self, size: int) -> None:
    """Counts the bytes of its answer; those of its body are over.

    Raises:
      ServingError: those of all requests are too many.
    """
    self._admission.give_back(self.size)
    self.size = 0
    self.grow(size)

  async def wait_while_held(self, remaining: float | None) -> None:
    """Waits while requests are held.

    Args:
      remaining: seconds until its deadline, of which it waits for half at most; None
        for no deadline.
    """
    await self._admission.wait_while_held(remaining)

  def close(self) -> None:
    """Its answer is written, or never will be."""
    self._admission.end(self)


class Admission:
  """Of both protocols. Belongs to the thread of the event loop."""

  def __init__(self, limits: Limits, metrics: Metrics):
    self.limits = limits
    self._metrics = metrics
    self._in_flight = 0
    self._predictions = 0
    self._bytes = 0
    self._latest = -math.inf
    self._not_held = asyncio.Event()
    self._not_held.set()

  @property
  def in_flight(self) -> int:
    """Requests that are being answered, until their answers are written."""
    return self._in_flight

  def begin(self, method: str, protocol: str) -> Call:
    """Counts a request, until it is closed."""
    self._in_flight += 1
    self._predictions += method == PREDICT
    self._metrics.begun()
    call = Call(self, method, protocol)
    self._latest = call.began
    return call

  def end(self, call: Call) -> None:
    """Counts a request no more."""
    self._in_flight -= 1
    self._predictions -= call.method == PREDICT
    self.give_back(call.size)
    seconds = time.perf_counter() - call.began
    self._metrics.ended(call.model, call.method, call.protocol, call.code.name, seconds)

  async def quiet(self, seconds: float, at_most: float) -> None:
    """Waits until so many seconds have passed since a request has begun.

    Args:
      seconds: of quiet.
      at_most: that this waits, quiet or not.
    """
    end = time.perf_counter() + at_most
    while (wait := min(self._latest + seconds, end) - time.perf_counter()) > 0:
      await asyncio.sleep(wait)

  def hold(self) -> None:
    """Lets no request that begins go on, until `release`."""
    self._not_held.clear()

  def release(self) -> None:
    self._not_held.set()

  async def wait_while_held(self, remaining: float | None) -> None:
    """As `Call.wait_while_held`."""
    if self._not_held.is_set():
      return
    with suppress(TimeoutError):
      async with asyncio.timeout(None if remaining is None else remaining / 2):
        await self._not_held.wait()

  def check(self, call: Call) -> None:
    """Raises `ServingError` if there are too many requests for one to be answered."""
    # Whoever asks how the server is gets an answer all the same.
    most = self.limits.max_concurrent_requests
    if call.method == PREDICT and self._predictions > most:
      raise ServingError(
        Code.RESOURCE_EXHAUSTED, f"more than {most} requests at the same time"
      )

  def take(self, size: int) -> None:
    """Counts bytes that are held; raises `ServingError` if they are too many."""
    most = self.limits.max_bytes_in_flight
    if self._bytes + size > most:
      raise ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"the bodies and answers of all requests under way are more than {most} bytes",
      )
    self._bytes += size

  def give_back(self, size: int) -> None:
    """Counts bytes no more."""
    self._bytes -= size
