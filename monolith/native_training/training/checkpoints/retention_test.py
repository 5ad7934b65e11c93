import os
from unittest import mock

from absl.testing import absltest

from monolith.native_training.training.checkpoints import (
  checkpoint,
  manifest,
  retention,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


class RetentionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _add(self, name: str, base: str = "") -> None:
    path = os.path.join(self._dir, f"model.ckpt-{name}")
    os.makedirs(checkpoint.tables_dir(path))
    checkpoint.write_manifest(
      path,
      Manifest(
        global_step=checkpoint.step_of(path),
        save_id=f"save {name}",
        table_files=[],
        tables=[],
        rows=0,
        base=base and f"model.ckpt-{base}",
        base_save_id=base and f"save {base}",
      ),
    )

  def _needed(self, max_to_keep: int) -> list[str]:
    paths = checkpoint.checkpoints(self._dir)
    needed = retention.needed(paths, max_to_keep)
    return [os.path.basename(p).partition("-")[2] for p in paths if p in needed]

  def _save_chains(self, saves: int, increments: int, max_to_keep: int) -> list[int]:
    """Saves, removing what is not needed; how many there were after each save."""
    counts = []
    for i in range(saves):
      self._add(str(i + 1), base=str(i) if i % (increments + 1) else "")
      keep = self._needed(max_to_keep)
      for path in checkpoint.checkpoints(self._dir):
        if os.path.basename(path).partition("-")[2] not in keep:
          checkpoint.remove(path)
      counts.append(len(checkpoint.checkpoints(self._dir)))
    return counts

  def test_the_newest_and_what_they_are_made_from(self):
    for i, base in enumerate(("", "1", "2", "", "4", "5"), 1):
      self._add(str(i), base)
    self.assertEqual(self._needed(4), ["1", "2", "3", "4", "5", "6"])
    self.assertEqual(self._needed(1), ["4", "5", "6"])

  def test_one_full_one_is_never_all_there_is(self):
    for i, base in enumerate(("", "1", "", "3", "", "5", "6"), 1):
      self._add(str(i), base)
    self.assertEqual(self._needed(2), ["3", "4", "5", "6", "7"])
    self._add("8")
    self.assertEqual(self._needed(2), ["5", "6", "7", "8"])

  def test_how_many_there_are_is_bounded(self):
    for max_to_keep, increments in ((10, 9), (3, 2), (2, 5), (5, 0)):
      counts = self._save_chains(60, increments, max_to_keep)
      self.assertLessEqual(max(counts), max_to_keep + 2 * increments + 1)
      for path in checkpoint.checkpoints(self._dir):
        checkpoint.remove(path)

  def test_without_increments_there_are_as_many_as_wanted(self):
    self.assertEqual(self._save_chains(6, 0, 3), [1, 2, 3, 3, 3, 3])

  def test_a_step_that_was_saved_again_counts_once(self):
    for name in ("10", "20", "20.1", "20.2"):
      self._add(name)
    self.assertEqual(self._needed(2), ["10", "20.2"])
    self._add("20.3", base="20.2")
    self.assertEqual(self._needed(2), ["10", "20.2", "20.3"])

  def test_what_is_damaged_needs_nothing(self):
    for i, base in enumerate(("", "1", "", "3"), 1):
      self._add(str(i), base)
    checkpoint.remove(checkpoint.path_of(self._dir, 3))
    with self.assertLogs("absl", "WARNING"):
      self.assertEqual(self._needed(2), ["1", "2", "4"])

  def test_no_manifest_is_read_twice(self):
    for i in range(1, 10):
      self._add(str(i), str(i - 1) if i % 4 != 1 else "")
    with mock.patch.object(manifest, "read", wraps=manifest.read) as read:
      self.assertLen(self._needed(6), 9)
    paths = [call.args[0] for call in read.mock_calls]
    self.assertCountEqual(paths, set(paths))


if __name__ == "__main__":
  absltest.main()
