"""Models do not hold each other up."""

from __future__ import annotations

import asyncio
import os
import threading

from absl.testing import absltest

from monolith.serving.errors import Code, ServingError
from monolith.serving.versions import status, version_folder
from monolith.serving.versions.manager import ModelManager
from monolith.serving.versions.model_watcher import LoadOptions
from monolith.serving.versions.served_model import ModelConfig


class _Servable:
  """One that closes when it may."""

  def __init__(self, version: int, may_close: threading.Event):
    self.version = version
    self.users = 0
    self._may_close = may_close

  def close(self):
    self._may_close.wait()


class ManagerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.may_load = {"a": threading.Event(), "b": threading.Event()}
    self.may_close = threading.Event()

  def _export(self, model: str, version: int) -> None:
    path = os.path.join(self.folder, model, str(version))
    os.makedirs(path)
    with open(os.path.join(path, "saved_model.pb"), "xb"):
      pass

  def _load(self, name: str, version: int, path: str) -> _Servable:
    del path
    self.may_load[name].wait()
    return _Servable(version, self.may_close)

  def _run(self, scenario) -> None:
    async def run():
      configs = [
        ModelConfig(name, os.path.join(self.folder, name), version_folder.Policy())
        for name in self.may_load
      ]
      manager = ModelManager(configs, self._load, LoadOptions(poll_seconds=0.02))
      watch = asyncio.create_task(manager.watch())
      try:
        await asyncio.wait_for(scenario(manager), 30)
      finally:
        watch.cancel()
        for event in (*self.may_load.values(), self.may_close):
          event.set()
        await manager.close()

    asyncio.run(run())

  async def _until_serving(self, manager: ModelManager, name: str, version: int):
    latest = None
    while latest != version:
      await asyncio.sleep(0.01)
      served = manager.model(name).latest
      latest = served.number if served else None

  def test_a_model_whose_warm_up_hangs_holds_up_no_other(self):
    async def scenario(manager):
      self._export("a", 1)
      self._export("b", 1)
      self.may_load["b"].set()
      await self._until_serving(manager, "b", 1)
      self._export("b", 2)
      await self._until_serving(manager, "b", 2)
      self.assertFalse(manager.is_ready())
      self.may_load["a"].set()
      await self._until_serving(manager, "a", 1)
      self.assertTrue(manager.is_ready())
      manager.is_ending = True
      for name in ("", "a"):
        self.assertFalse(manager.is_ready(name))

    self._run(scenario)

  def test_a_version_that_does_not_close_holds_up_no_new_one(self):
    async def scenario(manager):
      self.may_load["a"].set()
      for version in (1, 2, 3):
        self._export("a", version)
        await self._until_serving(manager, "a", version)

    self._run(scenario)

  def test_unknown_models_are_not_found(self):
    async def scenario(manager):
      for ask in (manager.model, lambda name: status.of(manager.model(name), 1, None)):
        with self.assertRaises(ServingError) as caught:
          ask("other")
        self.assertEqual(caught.exception.code, Code.NOT_FOUND)
      with self.assertRaisesRegex(ServingError, "any versions of model a"):
        status.of(manager.model("a"), None, None)

    self._run(scenario)


if __name__ == "__main__":
  absltest.main()
