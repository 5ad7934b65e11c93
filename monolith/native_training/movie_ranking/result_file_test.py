import os
import pathlib

from absl.testing import absltest

from monolith.native_training.movie_ranking import result_file


class ResultFileTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.create_tempdir().full_path)

  def test_an_old_result_is_removed_and_nothing_is_left(self):
    path = self._folder / "result.json"
    for _ in range(2):
      result_file.prepare(str(path), "--out")
      self.assertEmpty(os.listdir(self._folder))
      path.write_text("{}")

  def test_no_path_is_no_file(self):
    result_file.prepare("", "--out")

  def test_a_pipe_and_a_link_stay(self):
    path, target = self._folder / "pipe", self._folder / "target"
    os.mkfifo(path)
    result_file.prepare(str(path), "--out")
    self.assertTrue(path.is_fifo())
    target.write_text("{}")
    link = self._folder / "link"
    link.symlink_to("target")
    result_file.prepare(str(link), "--out")
    self.assertTrue(link.is_symlink())
    self.assertFalse(target.exists())

  def test_a_missing_folder_names_the_flag(self):
    path = self._folder / "missing" / "result.json"
    with self.assertRaisesRegex(ValueError, "--out: cannot write in folder .*missing"):
      result_file.prepare(str(path), "--out")

  def test_a_file_in_place_of_the_folder_names_the_flag(self):
    (self._folder / "file").write_text("")
    with self.assertRaisesRegex(ValueError, "--out: cannot write in folder .*file"):
      result_file.prepare(str(self._folder / "file" / "result.json"), "--out")

  def test_a_folder_in_place_of_the_file_names_the_flag(self):
    with self.assertRaisesRegex(ValueError, "--out: .* is a folder, wanted a file"):
      result_file.prepare(str(self._folder), "--out")


if __name__ == "__main__":
  absltest.main()
