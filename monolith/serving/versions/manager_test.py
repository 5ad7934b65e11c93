"""Versions come and go as the folder changes."""

from __future__ import annotations

import asyncio
import os
import shutil

from absl.testing import absltest
from tensorflow_serving.config import file_system_storage_path_source_pb2

from monolith.serving.errors import Code, ServingError
from monolith.serving.versions import status
from monolith.serving.versions.manager import LoadOptions, ModelManager
from monolith.serving.versions.served_model import ModelConfig, State

_POLICY = (
  file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig
).ServableVersionPolicy


class _Servable:
  def __init__(self, version: int):
    self.version = version
    self.users = 0
    self.is_closed = False

  def close(self):
    self.is_closed = True


class ManagerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.loads: list[int] = []
    self.broken: set[int] = set()
    self.policy = _POLICY()
    self.labels: dict[str, int] = {}

  def _export(self, *versions: int) -> None:
    for version in versions:
      os.mkdir(os.path.join(self.folder, str(version)))
      with open(os.path.join(self.folder, str(version), "saved_model.pb"), "wb"):
        pass

  def _load(self, name: str, version: int, path: str) -> _Servable:
    self.assertEqual(path, os.path.join(self.folder, str(version)))
    self.loads.append(version)
    if version in self.broken:
      raise ValueError(f"{version} is broken")
    return _Servable(version)

  def _run(self, scenario, **options) -> None:
    async def run():
      config = ModelConfig("m", self.folder, self.policy, self.labels)
      manager = ModelManager([config], self._load, LoadOptions(**options))
      try:
        await asyncio.wait_for(scenario(manager, manager.model("m")), 30)
      finally:
        await manager.close()

    asyncio.run(run())

  def _code(self, function, *arguments) -> Code:
    with self.assertRaises(ServingError) as caught:
      function(*arguments)
    return caught.exception.code

  def test_a_new_version_takes_over_and_the_old_waits_for_its_requests(self):
    async def scenario(manager, model):
      self.assertEqual(self._code(model.find, None, None), Code.NOT_FOUND)
      self.assertFalse(manager.is_ready)
      self._export(1)
      await manager.update(model)
      self.assertTrue(manager.is_ready)
      first = model.find(None, None)
      first.users += 1
      self._export(2)
      await manager.update(model)
      self.assertEqual(model.find(None, None).version, 2)
      self.assertEqual(self._code(model.find, 1, None), Code.NOT_FOUND)
      await asyncio.sleep(0.2)
      self.assertFalse(first.is_closed)
      self.assertEqual(model.versions[1].state, State.UNLOADING)
      first.users -= 1
      while model.versions[1].state != State.END:
        await asyncio.sleep(0.01)
      self.assertTrue(first.is_closed)
      await manager.update(model)
      self.assertEqual(self.loads, [1, 2])

    self._run(scenario)

  def test_a_broken_version_leaves_the_old_one_serving(self):
    async def scenario(manager, model):
      self._export(1)
      await manager.update(model)
      self.broken.add(2)
      self._export(2)
      await manager.update(model)
      self.assertEqual(model.find(None, None).version, 1)
      newest = status.of(model, 2, None).model_version_status[0]
      self.assertEqual(newest.state, State.END)
      self.assertEqual(newest.status.error_message, "2 is broken")
      self.broken.clear()
      await manager.update(model)
      self.assertEqual(model.find(None, None).version, 2)

    self._run(scenario, load_retry_seconds=0.0)

  def test_tries_end(self):
    async def scenario(manager, model):
      self.broken.add(1)
      self._export(1)
      for _ in range(10):
        await manager.update(model)

    self._run(scenario, load_retry_seconds=0.0, max_load_retries=2)
    self.assertEqual(self.loads, [1, 1, 1])

  def test_tries_end_however_many_are_broken(self):
    versions = range(1, 31)

    async def scenario(manager, model):
      self.broken.update(versions)
      self._export(*versions)
      for _ in range(3):
        await manager.update(model)
      # What is gone is forgotten.
      for version in versions:
        shutil.rmtree(os.path.join(self.folder, str(version)))
      await manager.update(model)
      self.assertLen(model.versions, 10)

    self._run(scenario)
    self.assertCountEqual(self.loads, versions)

  def test_a_folder_without_versions_is_told_once(self):
    async def scenario(manager, model):
      with self.assertLogs("absl", "WARNING") as logs:
        for _ in range(2):
          await manager.update(model)
        os.makedirs(os.path.join(self.folder, "7", "entry"))
        with open(os.path.join(self.folder, "7", "entry", "saved_model.pb"), "wb"):
          pass
        for _ in range(2):
          await manager.update(model)
        shutil.rmtree(self.folder)
        await manager.update(model)
      first, second, third = logs.output
      self.assertRegex(first, f"{self.folder} has no version of m: it has no numbered")
      self.assertRegex(second, "7 is a distributed export")
      self.assertRegex(third, "no such folder")

    self._run(scenario)

  def test_where_the_newest_is_broken_an_older_one_serves(self):
    async def scenario(manager, model):
      self.broken.update((2, 3))
      self._export(1, 2, 3)
      await manager.update(model)
      self.assertEqual(model.find(None, None).version, 1)
      await manager.update(model)

    self._run(scenario)
    self.assertEqual(self.loads, [3, 2, 1])

  def test_an_empty_folder_changes_nothing(self):
    async def scenario(manager, model):
      self._export(1)
      await manager.update(model)
      shutil.rmtree(self.folder)
      await manager.update(model)
      self.assertEqual(model.find(None, None).version, 1)

    self._run(scenario)

  def test_specific_versions_and_labels(self):
    self.policy.specific.versions.extend([1, 3])
    self.labels = {"stable": 1, "gone": 9}

    async def scenario(manager, model):
      self._export(1, 2, 3)
      await manager.update(model)
      self.assertEqual(model.find(1, None).version, 1)
      self.assertEqual(model.find(None, "stable").version, 1)
      self.assertEqual(model.find(None, None).version, 3)
      self.assertEqual(self._code(model.find, 2, None), Code.NOT_FOUND)
      self.assertEqual(self._code(model.find, None, "gone"), Code.NOT_FOUND)
      self.assertEqual(self._code(model.find, None, "other"), Code.INVALID_ARGUMENT)
      found = status.of(model, None, None).model_version_status
      self.assertEqual([v.version for v in found], [3, 1])

    self._run(scenario)

  def test_watching_survives_errors(self):
    async def scenario(manager, model):
      os.rmdir(self.folder)
      with open(self.folder, "w", encoding="utf-8"):
        pass  # A file, where a folder should be.
      watch = asyncio.create_task(manager.watch())
      await asyncio.sleep(0.1)
      os.remove(self.folder)
      os.mkdir(self.folder)
      self._export(4)
      while not manager.is_ready:
        await asyncio.sleep(0.01)
      watch.cancel()

    self._run(scenario, poll_seconds=0.02)

  def test_unknown_models_are_not_found(self):
    async def scenario(manager, model):
      self.assertEqual(self._code(manager.model, "other"), Code.NOT_FOUND)
      self.assertEqual(self._code(status.of, model, None, None), Code.NOT_FOUND)

    self._run(scenario)


if __name__ == "__main__":
  absltest.main()
