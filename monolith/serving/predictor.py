"""Answers requests, whichever protocol they come by."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from monolith.serving.batching.batcher import Batcher
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature
from monolith.serving.versions.manager import ModelManager

# What is larger is decoded and encoded in a thread, so that others need not wait.
_INLINE_BYTES = 64 * 1024
_STRING_BYTES = 64  # Of an output, for example.


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


class Predictor:
  """Belongs to the thread of the event loop."""

  def __init__(self, manager: ModelManager, batcher: Batcher):
    self.manager = manager
    self._batcher = batcher

  async def decode(self, size: int, function: Callable, *arguments):
    """Calls a function that reads or makes `size` bytes; of many bytes in a thread."""
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
    feeds_of: Callable[[Signature], Awaitable[Mapping[str, np.ndarray]]],
  ) -> Prediction:
    """Computes all outputs of a signature.

    Args:
      target: whom to ask.
      signature_name: "" means `serving_default`.
      feeds_of: decodes the request's inputs, of the signature's dtypes.

    Raises:
      ServingError: the request is wrong, or fails.
    """
    with self.servable(target) as servable:
      signature = servable.signature(signature_name)
      feeds = await feeds_of(signature)
      signature.check_shapes(feeds)
      outputs = await self._batcher.run(servable, signature, feeds)
      return Prediction(outputs, signature, servable.version)
