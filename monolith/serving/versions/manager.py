"""The models that are served, each watched for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from monolith.serving.errors import not_found
from monolith.serving.versions.model_watcher import Loader, LoadOptions, ModelWatcher
from monolith.serving.versions.served_model import ModelConfig, ServedModel


class ModelManager:
  """Loads and unloads.

  All methods belong to the thread of the event loop.

  Args:
    configs: what to serve.
    load: makes servables.
    options: when.

  Attributes:
    is_ending: the server is, and asks its clients to go elsewhere.
  """

  def __init__(
    self,
    configs: Iterable[ModelConfig],
    load: Loader,
    options: LoadOptions = LoadOptions(),  # noqa: B008
  ):
    self.is_ending = False
    self.models = {config.name: ServedModel(config) for config in configs}
    self._watchers = [
      ModelWatcher(model, load, options) for model in self.models.values()
    ]

  def is_ready(self, name: str = "") -> bool:
    """Whether a model can answer, or without a name every one, and will for a while.

    Raises:
      ServingError: it is not served.
    """
    models = [self.model(name)] if name else self.models.values()
    return not self.is_ending and all(model.latest for model in models)

  def model(self, name: str) -> ServedModel:
    """Raises `ServingError` if it is not served."""
    model = self.models.get(name)
    if model is None:
      raise not_found(f"Servable not found for request: Latest({name})")
    return model

  async def watch(self) -> None:
    """Looks at the folders, again and again, until it is cancelled."""
    await asyncio.gather(*(watcher.watch() for watcher in self._watchers))

  def interrupt(self) -> None:
    """Ends what is running in any version, with an error."""
    for watcher in self._watchers:
      watcher.interrupt()

  async def close(self) -> None:
    """Unloads everything. Requests must be over, and `watch` cancelled."""
    await asyncio.gather(*(watcher.close() for watcher in self._watchers))
