"""Versions come and go as the folder changes."""

from __future__ import annotations

import asyncio
import os
import shutil
from unittest import mock

from absl.testing import absltest

from monolith.serving.errors import Code, ServingError
from monolith.serving.versions import model_watcher, status, version_folder
from monolith.serving.versions.model_watcher import LoadOptions, ModelWatcher
from monolith.serving.versions.served_model import ModelConfig, ServedModel, State


class _Servable:
  def __init__(self, version: int):
    self.version = version
    self.users = 0
    self.is_closed = False

  def close(self):
    self.is_closed = True


class ModelWatcherTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.loads: list[int] = []
    self.broken: set[int] = set()
    self.policy = version_folder.Policy()
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
      model = ServedModel(ModelConfig("m", self.folder, self.policy, self.labels))
      watcher = ModelWatcher(model, self._load, LoadOptions(**options))
      try:
        await asyncio.wait_for(scenario(watcher, model), 30)
      finally:
        await watcher.close()

    asyncio.run(run())

  def _code(self, function, *arguments) -> Code:
    with self.assertRaises(ServingError) as caught:
      function(*arguments)
    return caught.exception.code

  def test_a_new_version_takes_over_and_the_old_waits_for_its_requests(self):
    async def scenario(watcher, model):
      self.assertEqual(self._code(model.find, None, None), Code.NOT_FOUND)
      self._export(1)
      await watcher.update()
      first = model.find(None, None)
      first.users += 1
      self._export(2)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 2)
      self.assertEqual(self._code(model.find, 1, None), Code.NOT_FOUND)
      await asyncio.sleep(0.2)
      self.assertFalse(first.is_closed)
      self.assertEqual(model.versions[1].state, State.UNLOADING)
      first.users -= 1
      while model.versions[1].state != State.END:
        await asyncio.sleep(0.01)
      self.assertTrue(first.is_closed)
      await watcher.update()
      self.assertEqual(self.loads, [1, 2])

    self._run(scenario)

  def test_a_broken_version_leaves_the_old_one_serving(self):
    async def scenario(watcher, model):
      self._export(1)
      await watcher.update()
      self.broken.add(2)
      self._export(2)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 1)
      newest = status.of(model, 2, None).model_version_status[0]
      self.assertEqual(newest.state, State.END)
      self.assertEqual(newest.status.error_message, "2 is broken")
      self.broken.clear()
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 2)

    self._run(scenario, load_retry_seconds=0.0)

  def test_tries_end(self):
    async def scenario(watcher, model):
      self.broken.add(1)
      self._export(1)
      for _ in range(10):
        await watcher.update()

    self._run(scenario, load_retry_seconds=0.0, max_load_retries=2)
    self.assertEqual(self.loads, [1, 1, 1])

  def test_tries_are_not_put_off_while_another_version_is_loaded(self):
    now = 0.0

    def load(name: str, version: int, path: str) -> _Servable:
      nonlocal now
      now += 0.6 if version == 2 else 0.0
      return self._load(name, version, path)

    async def scenario(watcher, model):
      nonlocal now
      watcher._load = load
      self.broken.update((1, 2, 3))
      self._export(1, 2, 3)
      # 3 is due at 2.0, while 2 is loaded, from 1.7 to 2.3.
      for now in (0.0, 1.0, 1.7, 2.4):  # noqa: B007 - Of the clock.
        await watcher.update()

    self.policy.latest.num_versions = 2
    clock = mock.Mock(monotonic=lambda: now)
    with mock.patch.object(model_watcher, "time", clock):
      self._run(scenario, load_retry_seconds=1.0)
    self.assertEqual(self.loads.count(3), 3)

  def _test_copied_anew(self, *versions: int, broken: int) -> None:
    """All are broken, and tried as often as may be; then one of them is mended."""

    async def scenario(watcher, model):
      self.broken.update(versions)
      self._export(*versions)
      for _ in range(5):
        await watcher.update()
      shutil.rmtree(os.path.join(self.folder, str(broken)))
      await watcher.update()
      (gone,) = status.of(model, broken, None).model_version_status
      self.assertEqual(gone.status.error_message, f"{broken} is broken")
      self.broken.discard(broken)
      self._export(broken)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, broken)

    self._run(scenario, load_retry_seconds=0.0, max_load_retries=1)

  def test_a_broken_version_that_is_copied_anew_is_served(self):
    self._test_copied_anew(1, broken=1)

  def test_a_broken_older_version_that_is_copied_anew_is_served(self):
    self._test_copied_anew(1, 2, broken=1)

  def _copy_into(self, version: int, name: str) -> None:
    with open(os.path.join(self.folder, str(version), name), "ab") as file:
      file.write(b"more")

  def test_what_is_given_up_is_tried_again_when_its_files_change(self):
    async def scenario(watcher, model):
      self.broken.add(1)
      self._export(1)
      for name in ("an asset", "an asset", "saved_model.pb"):
        with self.assertLogs("absl", "ERROR") as logs:
          for _ in range(5):
            await watcher.update()
        given_up = "version 1 of m is given up until its files change: it was tried 2"
        self.assertEqual(
          [given_up in line for line in logs.output], [False] * 2 + [True]
        )
        self._copy_into(1, name)
      self.broken.clear()
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 1)

    self._run(scenario, load_retry_seconds=0.0, max_load_retries=1)
    self.assertEqual(self.loads, [1] * 7)

  def test_where_the_newest_is_given_up_an_older_one_whose_files_change_serves(self):
    async def scenario(watcher, model):
      self.broken.update((1, 2))
      self._export(1, 2)
      for _ in range(5):
        await watcher.update()
      self._copy_into(1, "an asset")
      self.broken.discard(1)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 1)

    self._run(scenario, load_retry_seconds=0.0, max_load_retries=1)
    self.assertEqual(self.loads, [2, 1, 2, 1])

  def test_files_that_keep_changing_are_not_tried_all_the_time(self):
    async def scenario(watcher, model):
      self.broken.add(1)
      self._export(1)
      for _ in range(5):
        self._copy_into(1, "an asset")
        await watcher.update()

    self._run(scenario, load_retry_seconds=60.0, max_load_retries=0)
    self.assertEqual(self.loads, [1])

  def test_tries_end_however_many_are_broken(self):
    versions = range(1, 31)

    async def scenario(watcher, model):
      self.broken.update(versions)
      self._export(*versions)
      for _ in range(3):
        await watcher.update()
      # What is gone is forgotten.
      for version in versions:
        shutil.rmtree(os.path.join(self.folder, str(version)))
      await watcher.update()
      self.assertLen(model.versions, 10)

    self._run(scenario)
    self.assertCountEqual(self.loads, versions)

  def test_a_folder_without_versions_is_told_once(self):
    async def scenario(watcher, model):
      with self.assertLogs("absl", "WARNING") as logs:
        for _ in range(2):
          await watcher.update()
        os.makedirs(os.path.join(self.folder, "7", "entry"))
        with open(os.path.join(self.folder, "7", "entry", "saved_model.pb"), "wb"):
          pass
        for _ in range(2):
          await watcher.update()
        shutil.rmtree(self.folder)
        await watcher.update()
      first, second, third = logs.output
      self.assertRegex(first, f"{self.folder} has no version of m: it has no numbered")
      self.assertRegex(second, "7 is a distributed export")
      self.assertRegex(third, "no such folder")

    self._run(scenario)

  def test_versions_that_are_wanted_and_missing_are_told_once(self):
    self.policy.specific.versions.extend([9, 1, 7])

    async def scenario(watcher, model):
      self._export(1, 3)
      with self.assertLogs("absl", "WARNING") as logs:
        for _ in range(2):
          await watcher.update()
        self._export(7)
        for _ in range(2):
          await watcher.update()
        self._export(9)
        await watcher.update()
        shutil.rmtree(os.path.join(self.folder, "9"))
        await watcher.update()
      lacks = f"{self.folder} lacks versions of m that its policy wants: "
      said = [line.partition(lacks)[2] for line in logs.output]
      self.assertEqual(said, ["7, 9", "9", "9"])

    self._run(scenario)

  def test_where_the_newest_is_broken_an_older_one_serves(self):
    async def scenario(watcher, model):
      self.broken.update((2, 3))
      self._export(1, 2, 3)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 1)
      await watcher.update()

    self._run(scenario)
    self.assertEqual(self.loads, [3, 2, 1])

  def test_an_empty_folder_changes_nothing(self):
    async def scenario(watcher, model):
      self._export(1)
      await watcher.update()
      shutil.rmtree(self.folder)
      await watcher.update()
      self.assertEqual(model.find(None, None).version, 1)

    self._run(scenario)

  def test_a_version_that_is_copied_anew_is_loaded_beside_the_old(self):
    async def scenario(watcher, model):
      self._export(5)
      await watcher.update()
      old = model.find(None, None)
      old.users += 1  # A request, which the old one answers.
      try:
        for is_broken in (True, False):
          self.broken = {5} if is_broken else set()
          shutil.rmtree(os.path.join(self.folder, "5"))
          await watcher.update()
          self._export(5)
          for _ in range(3):
            await watcher.update()
          self.assertEqual(model.find(5, None) is old, is_broken)
          self.assertEqual(model.versions[5].state, State.AVAILABLE)
        new = model.find(None, None)
        self.assertFalse(old.is_closed)
      finally:
        old.users -= 1
      while not old.is_closed:
        await asyncio.sleep(0.01)
      await asyncio.sleep(0.05)
      self.assertIs(model.find(5, None), new)
      self.assertEqual(model.versions[5].state, State.AVAILABLE)

    self._run(scenario)
    self.assertEqual(self.loads, [5, 5, 5])

  def test_a_folder_that_was_away_changes_nothing(self):
    async def scenario(watcher, model):
      self._export(1, 2)
      await watcher.update()
      os.rename(self.folder, self.folder + "-away")
      await watcher.update()
      os.rename(self.folder + "-away", self.folder)
      for _ in range(2):
        await watcher.update()
      self.assertEqual(model.find(None, None).version, 2)

    self._run(scenario)
    self.assertEqual(self.loads, [2])

  def test_specific_versions_and_labels(self):
    self.policy.specific.versions.extend([1, 3])
    self.labels = {"stable": 1, "gone": 9}

    async def scenario(watcher, model):
      self._export(1, 2, 3)
      await watcher.update()
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
    async def scenario(watcher, model):
      os.rmdir(self.folder)
      with open(self.folder, "w", encoding="utf-8"):
        pass  # A file, where a folder should be.
      watch = asyncio.create_task(watcher.watch())
      await asyncio.sleep(0.1)
      os.remove(self.folder)
      os.mkdir(self.folder)
      self._export(4)
      while not model.latest:
        await asyncio.sleep(0.01)
      watch.cancel()

    self._run(scenario, poll_seconds=0.02)


if __name__ == "__main__":
  absltest.main()
