"""Keeps the served versions those that the folders hold.

A new version is loaded and warmed up in a thread, beside the old one; requests go to it
from then on, and the old one is closed when its last request is answered.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Sequence

from absl import logging

from monolith.serving.errors import not_found, of_exception
from monolith.serving.servable.servable import Servable
from monolith.serving.versions import version_folder
from monolith.serving.versions.served_model import (
  ModelConfig,
  ServedModel,
  State,
  Version,
)

_CLOSE_POLL_SECONDS = 0.05

# Makes a servable that is warm: of a model's name, a version and its folder.
Loader = Callable[[str, int, str], Servable]


@dataclasses.dataclass(frozen=True)
class LoadOptions:
  """When folders are read, and how often what cannot be loaded is tried again."""

  poll_seconds: float = 1.0
  max_load_retries: int = 5
  load_retry_seconds: float = 60.0


class ModelManager:
  """Loads and unloads.

  All methods belong to the thread of the event loop.

  Args:
    configs: what to serve.
    load: makes servables.
    options: when.
  """

  def __init__(
    self,
    configs: Iterable[ModelConfig],
    load: Loader,
    options: LoadOptions = LoadOptions(),  # noqa: B008
  ):
    self.models = {config.name: ServedModel(config) for config in configs}
    self._load = load
    self._options = options
    self._thread = concurrent.futures.ThreadPoolExecutor(1, "load")
    self._closing: set[asyncio.Future] = set()
    self._open: set[Servable] = set()

  @property
  def is_ready(self) -> bool:
    """Whether every model can answer."""
    return all(model.latest for model in self.models.values())

  def model(self, name: str) -> ServedModel:
    """Raises `ServingError` if it is not served."""
    model = self.models.get(name)
    if model is None:
      raise not_found(f"Servable not found for request: Latest({name})")
    return model

  async def watch(self) -> None:
    """Looks at the folders, again and again, until it is cancelled."""
    while True:
      for model in self.models.values():
        try:
          await self.update(model)
        except Exception as error:  # noqa: BLE001 - A file system may raise anything.
          logging.error("cannot look at %s: %s", model.config.base_path, error)
      await asyncio.sleep(self._options.poll_seconds)

  async def update(self, model: ServedModel) -> None:
    """Loads what is new in a model's folder, then unloads what is no longer wanted.

    What serves is not unloaded before what is wanted can answer; so an empty folder
    changes nothing.
    """
    config = model.config
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(
      self._thread, version_folder.versions, config.base_path
    )
    if not found:
      await self._say_why_none(model)
    wanted = version_folder.wanted(config.policy, found)
    for number in wanted:
      version = model.versions.get(number)
      if version is None or self._may_retry(version):
        await self._load_version(model, number)
    if not model.available() and version_folder.takes_older(config.policy):
      await self._load_older(model, found)
    if any(version.number in wanted for version in model.available()):
      for version in model.available():
        if version.number not in wanted:
          self._unload(model, version)
    model.forget_ended(found)

  def interrupt(self) -> None:
    """Ends what is running in any version, with an error."""
    loop = asyncio.get_running_loop()
    for servable in self._open:
      loop.run_in_executor(None, servable.interrupt)

  async def close(self) -> None:
    """Unloads everything. Requests must be over, and `watch` cancelled."""
    for model in self.models.values():
      for version in model.available():
        self._unload(model, version)
    if self._closing:
      await asyncio.wait(self._closing)
    await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

  async def _say_why_none(self, model: ServedModel) -> None:
    """Says once why a folder has no versions."""
    path = model.config.base_path
    why = await asyncio.get_running_loop().run_in_executor(
      self._thread, version_folder.why_none, path
    )
    if why != model.why_none:
      logging.warning("%s has no version of %s: %s", path, model.config.name, why)
      model.why_none = why

  async def _load_older(self, model: ServedModel, found: Sequence[int]) -> None:
    """Loads the newest version that can be loaded: better than to serve none."""
    for number in reversed(found):
      if number not in model.versions:
        await self._load_version(model, number)
        if model.available():
          return

  def _may_retry(self, version: Version) -> bool:
    return (
      version.state == State.END
      and (version.error is None or version.failures <= self._options.max_load_retries)
      and time.monotonic() >= version.retry_at
    )

  async def _load_version(self, model: ServedModel, number: int) -> None:
    name = model.config.name
    version = model.versions.setdefault(number, Version(number, State.START))
    version.state = State.LOADING
    path = os.path.join(model.config.base_path, str(number))
    begin = time.monotonic()
    try:
      version.servable = await asyncio.get_running_loop().run_in_executor(
        self._thread, self._load, name, number, path
      )
    except Exception as error:  # noqa: BLE001 - Whatever is wrong with an export.
      version.state = State.END
      version.error = of_exception(error)
      version.failures += 1
      version.retry_at = time.monotonic() + self._options.load_retry_seconds
      logging.error("cannot load version %d of %s: %s", number, name, error)
      return
    self._open.add(version.servable)
    version.state, version.error = State.AVAILABLE, None
    logging.info(
      "version %d of %s is loaded, in %.1f s", number, name, time.monotonic() - begin
    )

  def _unload(self, model: ServedModel, version: Version) -> None:
    """Gives no more requests to a version; it is closed after those it has."""
    servable, version.servable = version.servable, None
    version.state = State.UNLOADING
    done = asyncio.ensure_future(self._close_when_unused(servable))
    self._closing.add(done)

    def closed(future: asyncio.Future) -> None:
      self._closing.discard(future)
      self._open.discard(servable)
      version.state = State.END
      name = model.config.name
      if not future.cancelled() and future.exception():
        error = future.exception()
        logging.error("version %d of %s: %s", version.number, name, error)
      else:
        logging.info("version %d of %s is unloaded", version.number, name)

    done.add_done_callback(closed)

  async def _close_when_unused(self, servable: Servable) -> None:
    while servable.users:
      await asyncio.sleep(_CLOSE_POLL_SECONDS)
    await asyncio.get_running_loop().run_in_executor(self._thread, servable.close)
