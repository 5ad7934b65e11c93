import os
import stat
import threading

from absl.testing import absltest

from monolith.native_training.local_files import whole_file


class WholeFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = self.create_tempdir().full_path
    self._path = os.path.join(self._folder, "file")

  def _read(self) -> str:
    with open(self._path) as file:
      return file.read()

  def test_appears_and_is_replaced(self):
    for text in ("one", "two"):
      whole_file.write_text(self._path, text)
      self.assertEqual(self._read(), text)
    self.assertEqual(os.listdir(self._folder), ["file"])
    umask = os.umask(0)
    os.umask(umask)
    self.assertEqual(stat.S_IMODE(os.stat(self._path).st_mode), 0o666 & ~umask)

  def test_stays_where_something_goes_wrong(self):
    whole_file.write_text(self._path, "old")
    with self.assertRaises(KeyError), whole_file.replaced(self._path) as new:
      with open(new, "w") as file:
        file.write("half")
      raise KeyError
    self.assertEqual(self._read(), "old")
    self.assertEqual(os.listdir(self._folder), ["file"])

  def test_a_link_stays_one(self):
    link = os.path.join(self._folder, "link")
    os.symlink("file", link)
    for text in ("one", "two"):  # It points to nothing first.
      whole_file.write_text(link, text)
      self.assertTrue(os.path.islink(link))
      self.assertEqual(self._read(), text)

  def test_a_pipe_is_written_to_and_not_replaced(self):
    os.mkfifo(self._path)
    got = []
    reader = threading.Thread(target=lambda: got.append(self._read()))
    reader.start()
    whole_file.write_text(self._path, "text")
    reader.join()
    self.assertEqual(got, ["text"])
    with (
      self.assertRaisesRegex(OSError, "file: it is no file that can be replaced"),
      whole_file.replaced(self._path),
    ):
      self.fail("it was replaced")
    self.assertTrue(stat.S_ISFIFO(os.stat(self._path).st_mode))

  def test_a_folder_is_an_error_that_names_it(self):
    with (
      self.assertRaisesRegex(IsADirectoryError, f"{self._folder}: it is a folder"),
      whole_file.replaced(self._folder),
    ):
      self.fail("it was replaced")

  def test_no_folder_is_an_error_that_names_it(self):
    path = os.path.join(self._folder, "missing", "file")
    with self.assertRaisesRegex(OSError, f"cannot write {path}: No such file"):
      whole_file.write_text(path, "text")

  def test_what_a_process_has_open_is_no_file(self):
    with open(self._path, "w") as file:
      self.assertTrue(whole_file.is_no_file(f"/dev/fd/{file.fileno()}"))
    self.assertTrue(whole_file.is_no_file("/dev/stdout"))
    self.assertFalse(whole_file.is_no_file(self._path))
    self.assertFalse(whole_file.is_no_file("/dev/shm/file"))


if __name__ == "__main__":
  absltest.main()
