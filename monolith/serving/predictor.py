"""Answers requests, whichever protocol they come by."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from absl import logging

from monolith.serving.batching.batcher import Batcher
from monolith.serving.errors import Code, ServingError
from monolith.serving.metrics import Metrics
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature
from monolith.serving.versions.manager import ModelManager

# What is larger is decoded and encoded in a thread, so that others need not wait.
_INLINE_BYTES = 64 * 1024
_STRING_BYTES = 64  # Of an output, for example.
PREDICT = "Predict"


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a client may ask for.

  Attributes:
    max_request_bytes: size of a message or body, and of each array in it.
    max_concurrent_requests: of both protocols together.
    max_bytes_in_flight: bodies of all requests under way, of both protocols.
    max_connections: of HTTP.
  """

  max_request_bytes: int = 16 * 1024 * 1024
  max_concurrent_requests: int = 1024
  max_bytes_in_flight: int = 1024 * 1024 * 1024
  max_connections: int = 4096


@dataclasses.dataclass(frozen=True)
class Target:
  """Whom a request is for; see `ServedModel.find`."""

  model: str
  version: int | None = None
  label: str | None = None


@dataclasses.dataclass(frozen=True)
class Prediction:
  outputs: Mapping[str, np.ndarray]
  signature: Signature
  version: int


class Call:
  """A request under way.

  Attributes:
    model: its name, when it is known.
    is_late: it was cancelled for its deadline.
    size: bytes of its body.
  """

  def __init__(self, take: Callable[[int], None]):
    self.model = ""
    self.is_late = False
    self.size = 0
    self._take = take

  def grow(self, size: int) -> None:
    """Counts bytes of its body that have come.

    Raises:
      ServingError: those of all requests are too many.
    """
    self._take(size)
    self.size += size


class Predictor:
  """Belongs to the thread of the event loop."""

  def __init__(
    self, manager: ModelManager, batcher: Batcher, limits: Limits, metrics: Metrics
  ):
    self.manager = manager
    self.limits = limits
    self._batcher = batcher
    self._metrics = metrics
    self._in_flight = 0
    self._bytes = 0

  @property
  def in_flight(self) -> int:
    """Requests that are being answered."""
    return self._in_flight

  @contextmanager
  def call(self, method: str, protocol: str) -> Iterator[Call]:
    """Counts a request, and makes whatever it raises a `ServingError`.

    Raises:
      ServingError: there are too many.
    """
    call, code = Call(self._take), Code.OK
    begin = time.perf_counter()
    self._in_flight += 1
    self._metrics.begun()
    try:
      # Whoever asks how the server is gets an answer all the same.
      if method == PREDICT and self._in_flight > self.limits.max_concurrent_requests:
        raise ServingError(
          Code.RESOURCE_EXHAUSTED,
          f"more than {self.limits.max_concurrent_requests} requests at the same time",
        )
      yield call
    except ServingError as error:
      code = error.code
      raise
    except asyncio.CancelledError:
      code = Code.DEADLINE_EXCEEDED if call.is_late else Code.CANCELLED
      raise
    except MemoryError as error:
      code = Code.RESOURCE_EXHAUSTED
      logging.error("a %s request needs more memory than there is: %s", method, error)
      raise ServingError(code, "not enough memory for the request") from None
    except Exception as error:
      code = Code.INTERNAL
      logging.exception("a %s request failed", method)
      raise ServingError(code, "internal error, see the server's log") from error
    finally:
      self._in_flight -= 1
      self._bytes -= call.size
      seconds = time.perf_counter() - begin
      self._metrics.ended(call.model, method, protocol, code.name, seconds)

  def _take(self, size: int) -> None:
    if self._bytes + size > self.limits.max_bytes_in_flight:
      raise ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"the bodies of all requests under way are more than "
        f"{self.limits.max_bytes_in_flight} bytes",
      )
    self._bytes += size

  async def decode(self, size: int, function: Callable, *arguments):
    """Calls a function that reads `size` bytes; of many bytes in a thread."""
    if size <= _INLINE_BYTES:
      return function(*arguments)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, function, *arguments)

  async def encode(self, prediction: Prediction, function: Callable, *arguments):
    """Calls a function that writes a prediction; a large one in a thread."""
    size = sum(
      array.size * _STRING_BYTES if array.dtype.hasobject else array.nbytes
      for array in map(np.asarray, prediction.outputs.values())
    )
    return await self.decode(size, function, *arguments)

  @contextmanager
  def servable(self, target: Target) -> Iterator[Servable]:
    """The servable for a request, open while entered.

    Raises:
      ServingError: there is none.
    """
    model = self.manager.model(target.model)
    servable = model.find(target.version, target.label)
    servable.retain()
    try:
      yield servable
    finally:
      servable.release()

  async def predict(
    self,
    target: Target,
    signature_name: str,
    size: int,
    feeds_of: Callable[[Signature], Mapping[str, np.ndarray]],
  ) -> Prediction:
    """Computes all outputs of a signature.

    Args:
      target: whom to ask.
      signature_name: "" means `serving_default`.
      size: bytes that `feeds_of` reads.
      feeds_of: decodes the request's inputs, of the signature's dtypes.

    Raises:
      ServingError: the request is wrong, or fails.
    """
    with self.servable(target) as servable:
      signature = servable.signature(signature_name)
      feeds = await self.decode(size, feeds_of, signature)
      signature.check_shapes(feeds)
      outputs = await self._batcher.run(servable, signature, feeds)
      return Prediction(outputs, signature, servable.version)
