import os
import pathlib
import stat
import time

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.hash_table_ops import HashTable

_DAY = 86400
# Every int64 is an id, these too.
_IDS = np.array([0, 1, -1, 2**63 - 1, -(2**63), 12345678901234567], np.int64)


def _rows(ids, dim: int = 4) -> np.ndarray:
  """Rows that differ by id and by position."""
  return (np.arange(len(ids) * dim).reshape(len(ids), dim) + 1).astype(np.float32)


class SaveAndRestoreTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._file = os.path.join(self.create_tempdir().full_path, "rows")

  def test_rows_and_optimizer_state_come_back(self):
    table = HashTable("t", 4)
    ids = np.concatenate([_IDS, np.arange(100, 5000)])
    gradients = _rows(ids) / 1000
    table.apply_gradients(ids, gradients)
    self.assertEqual(table.save(self._file), len(ids))

    other = HashTable("t", 4)
    other.assign([50], _rows([50]))
    self.assertEqual(other.restore(self._file), len(ids))
    self.assertEqual(other.size(), len(ids))
    np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))
    for each in (table, other):
      each.apply_gradients(ids, gradients)
    np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))

  def test_update_times_come_back(self):
    table = HashTable("t", 1, expire_time=1)
    table.apply_gradients([1], [[1.0]], update_time=1000)
    table.apply_gradients([2], [[1.0]], update_time=1000 + _DAY)
    table.save(self._file, now=1000 + _DAY)
    other = HashTable("t", 1, expire_time=1)
    other.restore(self._file)
    self.assertEqual(other.evict(1000 + _DAY + 10), 1)
    self.assertEqual(other.erase([2]), 1)

  def test_expired_rows_go_before_they_are_saved(self):
    table = HashTable("t", 1, expire_time=1)
    table.assign([1], [[1.0]])
    for i, days_ago in ((2, 0.5), (3, 1.5), (4, 100)):
      moment = int(time.time() - days_ago * _DAY)
      table.apply_gradients([i], [[1.0]], update_time=moment)
    self.assertEqual(table.save(self._file, now=time.time() - 0.9 * _DAY), 3)
    self.assertEqual(table.save(self._file), 2)
    self.assertEqual(table.size(), 2)
    other = HashTable("t", 1)
    self.assertEqual(other.restore(self._file), 2)
    self.assertEqual(other.erase([1, 2]), 2)

  def test_rows_that_do_not_expire_are_saved_however_old(self):
    table = HashTable("t", 1)
    table.apply_gradients([1], [[1.0]], update_time=0)
    self.assertEqual(table.save(self._file), 1)

  def test_an_empty_table(self):
    self.assertEqual(HashTable("t", 4).save(self._file), 0)
    table = HashTable("t", 4)
    table.assign([1], _rows([1]))
    self.assertEqual(table.restore(self._file), 0)
    self.assertEqual(table.size(), 0)

  def test_the_file_of_another_table_is_refused_and_nothing_lost(self):
    other = HashTable("users", 4)
    table = HashTable("items", 4)
    table.assign([1], _rows([1]))
    for ids in ([], [5]):
      if ids:
        other.assign(ids, _rows(ids))
      other.save(self._file)
      with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "rows: got rows of users, wanted some of items"
      ):
        table.restore(self._file)
      self.assertEqual(table.size(), 1)
      np.testing.assert_array_equal(table.lookup([1]), _rows([1]))

  def test_only_the_file_asked_for_is_written(self):
    HashTable("t", 4).save(self._file)
    self.assertEqual(os.listdir(os.path.dirname(self._file)), ["rows"])

  def test_what_is_no_file_stays(self):
    table = HashTable("t", 4)
    os.mkfifo(self._file)
    for path in (self._file, tf.constant(self._file), f"file://{self._file}"):
      with self.assertRaisesRegex(OSError, "rows: it is no file that can be replaced"):
        table.save(path)
    self.assertTrue(stat.S_ISFIFO(os.stat(self._file).st_mode))
    for folder in (os.path.dirname(self._file), self._file + "s/"):
      with self.assertRaisesRegex(OSError, f"cannot write {folder}: it is a folder"):
        table.save(folder)
    self.assertFalse(os.path.exists(self._file + "s"))

  def test_paths_of_pathlib(self):
    table = HashTable("t", 1)
    table.assign([1], [[2.0]])
    path = pathlib.Path(self._file)
    self.assertEqual(table.save(path), 1)
    self.assertEqual(HashTable("t", 1).restore(path), 1)

  def test_what_is_above_a_link_is_above_what_it_points_to(self):
    folder = self.create_tempdir().full_path
    os.makedirs(os.path.join(folder, "a", "b"))
    os.symlink("a/b", os.path.join(folder, "link"))
    table = HashTable("t", 1)
    table.assign([1], [[2.0]])
    path = os.path.join(folder, "link", "..", "rows")
    self.assertEqual(table.save(path), 1)
    self.assertTrue(os.path.exists(os.path.join(folder, "a", "rows")))
    self.assertEqual(HashTable("t", 1).restore(path), 1)

  def test_what_killed_saves_have_left_goes_after_a_day(self):
    table = HashTable("t", 1)
    two_days_ago = time.time() - 2 * _DAY
    for name, mtime in (
      ("rows.tmp-0123456789abcdef", two_days_ago),
      ("rows.tmp-fedcba9876543210", time.time() - 100),
      ("rows.tmp-mine", two_days_ago),
      ("arrows.tmp-0123456789abcdef", two_days_ago),
    ):
      path = os.path.join(os.path.dirname(self._file), name)
      with open(path, "w"):
        pass
      os.utime(path, (mtime, mtime))
    table.save(self._file)
    self.assertCountEqual(
      os.listdir(os.path.dirname(self._file)),
      [
        "rows",
        "rows.tmp-fedcba9876543210",
        "rows.tmp-mine",
        "arrows.tmp-0123456789abcdef",
      ],
    )

  def test_what_a_link_points_to_is_replaced(self):
    table = HashTable("t", 4)
    folder = self.create_tempdir().full_path
    real = os.path.join(folder, "real")
    os.symlink(real, self._file)
    for ids in ([1], [1, 2]):  # It points to nothing first.
      table.assign(ids, _rows(ids))
      table.save(self._file)
      self.assertTrue(os.path.islink(self._file))
      self.assertEqual(os.listdir(folder), ["real"])
      self.assertEqual(HashTable("t", 4).restore(real), len(ids))

  def test_another_width_is_refused_and_nothing_lost(self):
    HashTable("t", 4).save(self._file)
    table = HashTable("t", 8)
    table.assign([1], _rows([1], 8))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "t.*embedding"):
      table.restore(self._file)
    np.testing.assert_array_equal(table.lookup([1]), _rows([1], 8))

  def test_a_missing_file_is_named(self):
    with self.assertRaisesRegex(tf.errors.OpError, "rows"):
      HashTable("t", 4).restore(self._file)

  def test_what_is_no_path_is_refused(self):
    table = HashTable("t", 1)
    table.save(self._file)
    for path in ("", self._file + "\0", self._file + "\0x", b"", self._file + "\0/.."):
      for given in (path, tf.constant(path)):
        for use in (table.save, table.restore):
          with self.assertRaisesRegex(
            ValueError, "basename: got '.*', wanted the path"
          ):
            use(given)
    self.assertEqual(os.listdir(os.path.dirname(self._file)), ["rows"])

  def test_a_damaged_file_is_refused_by_name(self):
    table = HashTable("t", 4)
    table.assign(_IDS, _rows(_IDS))
    table.save(self._file)
    with open(self._file, "rb") as file:
      good = file.read()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for content in (good[: len(good) // 2], good[:-1], bytes(flipped), b""):
      with open(self._file, "wb") as file:
        file.write(content)
      with self.assertRaisesRegex(tf.errors.DataLossError, "rows"):
        HashTable("t", 4).restore(self._file)

  def test_a_damaged_file_leaves_the_counts_of_ids_without_a_row(self):
    HashTable("t", 1).save(self._file)
    os.truncate(self._file, os.path.getsize(self._file) - 3)
    table = HashTable("t", 1, occurrence_threshold=3)
    for size in (0, 0, 1):
      with self.assertRaises(tf.errors.DataLossError):
        table.restore(self._file)
      table.apply_gradients([7], [[1.0]])
      self.assertEqual(table.size(), size)


if __name__ == "__main__":
  absltest.main()
