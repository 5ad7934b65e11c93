"""Keeps the served versions of a model those that its folder holds.

A new version is loaded and warmed up in a thread, beside the old one; requests go to it
from then on, and the old one is closed, in another thread, when its last request is
answered. The threads are the model's own: whatever takes long there, or hangs, holds up
no other model, and what is closed holds up nothing that is loaded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import os
import time
from collections.abc import Callable, Sequence

from absl import logging

from monolith.serving.errors import of_exception
from monolith.serving.servable.servable import Servable
from monolith.serving.versions import version_folder
from monolith.serving.versions.served_model import ServedModel, State, Version

_CLOSE_POLL_SECONDS = 0.05

# Makes a servable that is warm: of a model's name, a version and its folder.
Loader = Callable[[str, int, str], Servable]


@dataclasses.dataclass(frozen=True)
class LoadOptions:
  """When folders are read, and how often what cannot be loaded is tried again."""

  poll_seconds: float = 1.0
  max_load_retries: int = 5
  load_retry_seconds: float = 60.0


class ModelWatcher:
  """Loads and unloads the versions of a model.

  All methods belong to the thread of the event loop.

  Args:
    model: whose versions these are.
    load: makes servables.
    options: when.
  """

  def __init__(self, model: ServedModel, load: Loader, options: LoadOptions):
    self._model = model
    self._load = load
    self._options = options
    name = model.config.name
    self._load_thread = concurrent.futures.ThreadPoolExecutor(1, f"load {name}")
    self._close_thread = concurrent.futures.ThreadPoolExecutor(1, f"close {name}")
    self._closing: set[asyncio.Future] = set()
    self._open: set[Servable] = set()
    self._why_none = ""  # What was last said of a folder without versions.
    self._missing: list[int] = []  # What was last said to be wanted.

  async def watch(self) -> None:
    """Looks at the folder, again and again, until it is cancelled."""
    while True:
      try:
        await self.update()
      except Exception as error:  # noqa: BLE001 - A file system may raise anything.
        logging.error("cannot look at %s: %s", self._model.config.base_path, error)
      await asyncio.sleep(self._options.poll_seconds)

  async def update(self) -> None:
    """Loads what is new in the folder, then unloads what is no longer wanted.

    What serves is not unloaded before what is wanted can answer; so an empty folder
    changes nothing, and a version that is copied anew is loaded beside the old.
    """
    model, config = self._model, self._model.config
    found = await self._in_load_thread(version_folder.versions, config.base_path)
    if not found:
      await self._say_why_none()
    self._say_missing(found)
    wanted = version_folder.wanted(config.policy, found)
    for number in wanted:
      version = model.versions.get(number)
      if version is None or await self._may_load(version):
        await self._load_version(number)
    if not model.available() and version_folder.takes_older(config.policy):
      await self._load_older([n for n in found if n not in wanted])
    if any(version.number in wanted for version in model.available()):
      for version in model.available():
        if version.number not in wanted:
          self._unload(version)
    model.forget_gone(found)

  def interrupt(self) -> None:
    """Ends what is running in any version, with an error."""
    loop = asyncio.get_running_loop()
    for servable in self._open:
      loop.run_in_executor(None, servable.interrupt)

  async def close(self) -> None:
    """Unloads everything. Requests must be over, and `watch` cancelled."""
    for version in self._model.available():
      self._unload(version)
    if self._closing:
      await asyncio.wait(self._closing)
    loop = asyncio.get_running_loop()
    for thread in (self._load_thread, self._close_thread):
      await loop.run_in_executor(None, thread.shutdown)

  async def _in_load_thread(self, function: Callable, *arguments):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(self._load_thread, function, *arguments)

  async def _say_why_none(self) -> None:
    """Says once why the folder has no versions."""
    path, name = self._model.config.base_path, self._model.config.name
    why = await self._in_load_thread(version_folder.why_none, path)
    if why != self._why_none:
      logging.warning("%s has no version of %s: %s", path, name, why)
      self._why_none = why

  def _say_missing(self, found: Sequence[int]) -> None:
    """Says once which of the versions that the policy names are not there."""
    config = self._model.config
    missing = version_folder.missing(config.policy, found)
    if missing and missing != self._missing:
      logging.warning(
        "%s lacks versions of %s that its policy wants: %s",
        config.base_path,
        config.name,
        ", ".join(map(str, missing)),
      )
    self._missing = missing

  async def _load_older(self, found: Sequence[int]) -> None:
    """Loads the newest of those that nobody wants: better than to serve none."""
    for number in reversed(found):
      version = self._model.versions.get(number)
      if version is None or (
        version.state == State.END and await self._may_try(version, retries=0)
      ):
        await self._load_version(number)
        if self._model.available():
          return

  async def _may_load(self, version: Version) -> bool:
    """Whether to load what was loaded before, or could not be."""
    if version.state == State.AVAILABLE and version.was_gone:
      # Else storage was away.
      version.was_gone = await self._identity(version) != version.identity
    is_replaced = version.state == State.AVAILABLE and version.was_gone
    return (version.state == State.END or is_replaced) and await self._may_try(
      version, self._options.max_load_retries
    )

  async def _may_try(self, version: Version, retries: int) -> bool:
    """Whether it is time to load it, which has failed no more often than `retries`, or
    with other files than its folder has now."""
    if time.monotonic() < version.retry_at:
      return False
    if version.failures > retries:
      if await self._identity(version) == version.failed_identity:
        version.retry_at = time.monotonic() + self._options.load_retry_seconds
        return False
      version.failures = 0
    return True

  async def _identity(self, version: Version) -> version_folder.Identity | None:
    path = self._path(version.number)
    return await self._in_load_thread(version_folder.identity, path)

  def _path(self, number: int) -> str:
    return os.path.join(self._model.config.base_path, str(number))

  async def _load_version(self, number: int) -> None:
    name = self._model.config.name
    version = self._model.versions.setdefault(number, Version(number, State.START))
    old = version.servable  # It serves meanwhile.
    if old is None:
      version.state = State.LOADING
    begin = time.monotonic()
    identity = None
    try:
      identity = await self._identity(version)
      path = self._path(number)
      servable = await self._in_load_thread(self._load, name, number, path)
    except Exception as error:  # noqa: BLE001 - Whatever is wrong with an export.
      if old is None:
        version.state, version.error = State.END, of_exception(error)
      self._count_failure(version, identity, error)
      return
    self._open.add(servable)
    self._model.versions[number] = Version(
      number, State.AVAILABLE, servable, identity=identity
    )
    if old is not None:
      self._unload(version)
    logging.info(
      "version %d of %s is loaded, in %.1f s", number, name, time.monotonic() - begin
    )

  def _count_failure(
    self,
    version: Version,
    identity: version_folder.Identity | None,
    error: Exception,
  ) -> None:
    version.failures += 1
    version.failed_identity = identity
    version.retry_at = time.monotonic() + self._options.load_retry_seconds
    number, name = version.number, self._model.config.name
    logging.error("cannot load version %d of %s: %s", number, name, error)
    if version.failures > self._options.max_load_retries:
      logging.error(
        "version %d of %s is given up until its files change: it was tried %d times",
        number,
        name,
        version.failures,
      )

  def _unload(self, version: Version) -> None:
    """Gives no more requests to a version; it is closed after those it has."""
    servable, version.servable = version.servable, None
    version.state = State.UNLOADING
    done = asyncio.ensure_future(self._close_when_unused(servable))
    self._closing.add(done)

    def closed(future: asyncio.Future) -> None:
      self._closing.discard(future)
      self._open.discard(servable)
      version.state = State.END
      name = self._model.config.name
      if not future.cancelled() and future.exception():
        error = future.exception()
        logging.error("version %d of %s: %s", version.number, name, error)
      else:
        logging.info("version %d of %s is unloaded", version.number, name)

    done.add_done_callback(closed)

  async def _close_when_unused(self, servable: Servable) -> None:
    while servable.users:
      await asyncio.sleep(_CLOSE_POLL_SECONDS)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(self._close_thread, servable.close)
