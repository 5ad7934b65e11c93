import contextlib
import errno
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import storage


class ReplaceFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._path = os.path.join(self._dir, "file")

  def _content(self) -> str:
    with open(self._path) as file:
      return file.read()

  def test_the_new_content_takes_the_place_of_the_old(self):
    for flush in (True, False):
      for text in ("old", "new"):
        storage.replace_file(self._path, text, flush)
        self.assertEqual(self._content(), text)
      self.assertEqual(os.listdir(self._dir), ["file"])

  def test_only_what_is_to_outlive_a_loss_of_power_is_flushed(self):
    with mock.patch.object(os, "fsync", wraps=os.fsync) as fsync:
      storage.replace_file(self._path, "a beat", flush=False)
      fsync.assert_not_called()
      storage.replace_file(self._path, "a manifest")
      self.assertLen(fsync.mock_calls, 2)  # The file, and its name.

  def test_what_fails_leaves_the_old_and_nothing_else(self):
    storage.replace_file(self._path, "old")
    full = tf.errors.ResourceExhaustedError(None, None, "no space left")
    for where, broken, error in (
      (tf.io.gfile.GFile, "write", full),
      (tf.io.gfile, "rename", full),
      (os, "fsync", OSError("no space left")),
    ):
      with mock.patch.object(where, broken, side_effect=error):
        with self.assertRaisesRegex(type(error), "no space left"):
          storage.replace_file(self._path, "new")
      self.assertEqual(self._content(), "old")
      self.assertEqual(os.listdir(self._dir), ["file"])


def _replaced_when_opened(path: str, text: str) -> contextlib.AbstractContextManager:
  """Has a file replaced between its being opened and the first read of it."""
  read = tf.io.gfile.GFile.read
  texts = [text]

  def replace_and_read(file: tf.io.gfile.GFile, *args: int) -> bytes:
    if texts:
      file.seek(0)  # Opens it.
      storage.replace_file(path, texts.pop())
    return read(file, *args)

  return mock.patch.object(tf.io.gfile.GFile, "read", replace_and_read)


class ReadFileTest(absltest.TestCase):
  def test_a_file_that_is_replaced_when_it_has_been_opened_is_read_whole(self):
    path = self.create_tempfile("file").full_path
    for content, other in (("opened", "new"), ("opened", "another that is longer")):
      with open(path, "w") as file:
        file.write(content)
      with _replaced_when_opened(path, other):
        self.assertEqual(storage.read_file(path), content.encode())

  def test_long_and_empty_files(self):
    path = self.create_tempfile("file").full_path
    for content in (b"", b"\0\xff" * 1_500_000):
      with open(path, "wb") as file:
        file.write(content)
      self.assertEqual(storage.read_file(path), content)

  def test_one_that_is_missing(self):
    with self.assertRaises(tf.errors.NotFoundError):
      storage.read_file(os.path.join(self.create_tempdir().full_path, "none"))


class FlushToStorageTest(absltest.TestCase):
  """The cases of the C++ `storage_test`."""

  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._path = self.create_tempfile(os.path.join(self._dir, "file")).full_path
    self._flushed = []
    flush = os.fsync

    def note(file: int) -> None:
      self._flushed.append(os.readlink(f"/proc/self/fd/{file}"))
      flush(file)

    self.enter_context(mock.patch.object(os, "fsync", note))

  def test_files_and_folders_of_this_machine_are_flushed(self):
    for path in (self._path, self._dir):
      for prefix in ("", "file://", "file://localhost"):
        storage.flush_to_storage(prefix + path)
    self.assertEqual(self._flushed, [self._path] * 3 + [self._dir] * 3)

  def test_the_folder_of_a_bare_name_is_this_one(self):
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self._dir)
    storage.flush_to_storage("")
    self.assertEqual(self._flushed, [self._dir])

  def test_others_are_their_storages_matter(self):
    storage.flush_to_storage("ram://nowhere/file")
    storage.flush_to_storage("hdfs://host/folder")
    self.assertEmpty(self._flushed)

  def test_a_pipe_has_nothing_to_flush(self):
    os.remove(self._path)
    os.mkfifo(self._path)
    storage.flush_to_storage(self._path)

  def test_what_is_missing_or_cannot_be_written_is_an_error(self):
    with self.assertRaisesRegex(FileNotFoundError, "nothing"):
      storage.flush_to_storage(os.path.join(self._dir, "nothing"))
    for number in (errno.EIO, errno.ENOTSUP):
      with mock.patch.object(os, "fsync", side_effect=OSError(number, "of the disk")):
        with self.assertRaisesRegex(OSError, "of the disk"):
          storage.flush_to_storage(self._dir)


if __name__ == "__main__":
  absltest.main()
