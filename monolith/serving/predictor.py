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
from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.metrics import Metrics
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature
from monolith.serving.versions.manager import ModelManager

# What is larger is decoded in a thread, so that others need not wait for it.
_DECODED_INLINE_BYTES = 64 * 1024
PREDICT = "Predict"


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a client may ask for.

  Attributes:
    max_request_bytes: size of a message or body, and of each array in it.
    max_concurrent_requests: of both protocols together.
  """

  max_request_bytes: int = 16 * 1024 * 1024
  max_concurrent_requests: int = 1024


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
  """A request under way: `model` is filled in when it is known."""

  model = ""


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
    call, code = Call(), Code.OK
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
      code = Code.CANCELLED
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
      seconds = time.perf_counter() - begin
      self._metrics.ended(call.model, method, protocol, code.name, seconds)

  async def decode(self, size: int, function: Callable, *arguments):
    """Calls a function that reads `size` bytes; of many bytes in a thread."""
    if size <= _DECODED_INLINE_BYTES:
      return function(*arguments)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, function, *arguments)

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
      if not feeds:
        raise invalid_argument("the request has no inputs")
      signature.check_shapes(feeds)
      outputs = await self._batcher.run(servable, signature, feeds)
      return Prediction(outputs, signature, servable.version)
