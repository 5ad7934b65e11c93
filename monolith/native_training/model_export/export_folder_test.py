"""Exports appear whole, in order, and go when they are old."""

import concurrent.futures
import os
import subprocess
import threading
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.model_export import export_folder


class ExportFolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.base = self.create_tempdir().full_path

  def _export(self, text: str = "model") -> int:
    """Writes an export; returns its number."""
    path = export_folder.write(self.base, lambda folder: self._fill(folder, text))
    self.assertEqual(os.path.dirname(path), self.base)
    return int(os.path.basename(path))

  def _fill(self, folder: str, text: str = "model") -> None:
    self.assertFalse(os.path.exists(folder))
    os.makedirs(os.path.join(folder, "variables"))
    for name in ("saved_model.pb", "variables/variables.index"):
      with open(os.path.join(folder, name), "x", encoding="utf-8") as file:
        file.write(text)

  def _text(self, number: int) -> str:
    path = os.path.join(self.base, str(number), "saved_model.pb")
    with open(path, encoding="utf-8") as file:
      return file.read()

  def test_exports_at_once_have_numbers_and_files_of_their_own(self):
    together = threading.Barrier(8)

    def export(i: int) -> int:
      def fill(folder: str) -> None:
        together.wait()
        self._fill(folder, str(i))
        together.wait()

      return int(os.path.basename(export_folder.write(self.base, fill)))

    with mock.patch("time.time", return_value=1000.0):
      with concurrent.futures.ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(export, range(8)))
    self.assertCountEqual(numbers, range(1000, 1008))
    self.assertCountEqual(os.listdir(self.base), map(str, numbers))
    for i, number in enumerate(numbers):
      self.assertEqual(self._text(number), str(i))

  def test_the_newest_has_the_largest_number_whatever_the_clock_says(self):
    with mock.patch("time.time", return_value=1000.0):
      self.assertEqual(self._export(), 1000)
    with mock.patch("time.time", return_value=500.0):
      self.assertEqual(self._export("late"), 1001)
      export_folder.keep_newest(self.base, 1)
    self.assertEqual(os.listdir(self.base), ["1001"])
    self.assertEqual(self._text(1001), "late")

  def test_names_that_are_no_versions_do_not_count(self):
    for name in ("best", "007", "-9", str(2**63), "²"):
      os.mkdir(os.path.join(self.base, name))
    with mock.patch("time.time", return_value=1000.0):
      self.assertEqual(self._export(), 1000)

  def test_only_the_newest_are_kept(self):
    being_written = f".tmp-{int(time.time())}-abc"
    for name in ("9", "100", "20"):
      self._fill(os.path.join(self.base, name))
    self._fill(os.path.join(self.base, "30", "entry"))  # A distributed one.
    for name in ("5", "notes", ".tmp-21", ".tmp-22-abc", being_written):
      os.mkdir(os.path.join(self.base, name))
    export_folder.keep_newest(self.base, 2)
    self.assertCountEqual(
      os.listdir(self.base), ["100", "30", "5", "notes", being_written]
    )

  def test_what_a_process_left_that_is_gone_goes_with_the_next(self):
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getpid()):
      with mock.patch.object(os, "getpid", return_value=process):
        with mock.patch.object(tf.io.gfile, "rmtree"):  # It is killed.
          with self.assertRaises(KeyboardInterrupt):
            export_folder.write(self.base, self._interrupt)
    number = self._export()
    export_folder.keep_newest(self.base, 1)
    left, published = sorted(os.listdir(self.base))
    self.assertEqual(published, str(number))
    self.assertRegex(left, rf"\.tmp-\d+-\w+-{os.getpid()}-\w+")

  def _interrupt(self, folder: str) -> None:
    self._fill(folder)
    raise KeyboardInterrupt

  def test_what_is_removed_is_not_seen_in_part(self):
    self._fill(os.path.join(self.base, "7"))
    self._fill(os.path.join(self.base, "8"))
    failure = tf.errors.PermissionDeniedError(None, None, "not yours")
    with mock.patch.object(tf.io.gfile, "rmtree", side_effect=failure):
      with self.assertLogs("absl", "WARNING") as logs:
        export_folder.keep_newest(self.base, 1)
    self.assertRegex(logs.output[0], "/7 cannot be removed: not yours")
    (left,) = set(os.listdir(self.base)) - {"8"}
    self.assertStartsWith(left, ".tmp-")

  def test_what_fails_leaves_nothing(self):
    def fail(folder: str) -> None:
      self._fill(folder)
      raise ValueError("of the model")

    with self.assertRaisesRegex(ValueError, "of the model"):
      export_folder.write(self.base, fail)
    self.assertEmpty(os.listdir(self.base))


if __name__ == "__main__":
  absltest.main()
