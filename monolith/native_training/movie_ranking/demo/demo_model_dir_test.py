import pathlib
import shutil

from absl.testing import absltest

from monolith.native_training.movie_ranking.demo import demo_model_dir


class DemoModelDirTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = pathlib.Path(self.create_tempdir().full_path, "models", "mine")

  def _prepare(self, dataset: str) -> str:
    return demo_model_dir.prepare(str(self._folder), dataset)

  def test_is_made_with_a_folder_for_logs(self):
    self.assertEqual(self._prepare("100k"), str(self._folder))
    self.assertTrue((self._folder / "logs").is_dir())

  def test_a_model_is_trained_further_on_the_same_ratings(self):
    self._prepare("100k")
    (self._folder / "model.ckpt-7.index").write_text("")
    self._prepare("100k")

  def test_a_model_is_not_trained_on_other_ratings(self):
    self._prepare("100k")
    (self._folder / "model.ckpt-7.index").write_text("")
    for _ in range(2):
      with self.assertRaisesRegex(
        ValueError, "--model_dir=.*mine holds a model trained on --dataset=100k"
      ):
        self._prepare("synthetic")
    self._prepare("100k")

  def test_without_a_model_the_ratings_may_change(self):
    for dataset in ("100k", "synthetic"):
      self._prepare(dataset)

  def test_a_model_of_another_program_may_be_trained(self):
    self._folder.mkdir(parents=True)
    (self._folder / "model.ckpt-7.index").write_text("")
    self._prepare("100k")

  def test_whoever_stops_hears_whether_anything_is_saved(self):
    folder = self._prepare("100k")
    checkpoint = self._folder / "model.ckpt-7.tables"
    checkpoint.mkdir()
    self.assertEqual(demo_model_dir.what_is_saved(folder), "nothing was saved")
    (checkpoint / "manifest.json").write_text("{}")
    told = demo_model_dir.what_is_saved(folder)
    self.assertEqual(told, f"what was saved until then is in {folder}")

  def test_a_temporary_folder_is_new(self):
    folders = [demo_model_dir.prepare("", "100k") for _ in range(2)]
    self.assertNotEqual(*folders)
    self.assertTrue(pathlib.Path(folders[0], "logs").is_dir())

  def _group(self, folder: pathlib.Path, chosen: str = "") -> str:
    demo_model_dir.prepare(str(folder), "100k")
    return demo_model_dir.consumer_group(str(folder), chosen)

  def test_a_folder_keeps_its_group(self):
    group = self._group(self._folder)
    self.assertRegex(group, "^mine-[0-9a-f]{8}$")
    self.assertEqual(self._group(self._folder), group)

  def test_folders_of_one_name_have_groups_of_their_own(self):
    other = self._folder.parent.parent / "others" / "mine"
    self.assertNotEqual(self._group(self._folder), self._group(other))

  def test_a_folder_made_again_has_another_group(self):
    group = self._group(self._folder)
    shutil.rmtree(self._folder)
    self.assertNotEqual(self._group(self._folder), group)

  def test_a_new_group_is_nobodys(self):
    """What each run of the demo with a broker of its own reads by."""
    folder = str(self._folder)
    groups = {demo_model_dir.new_group(folder) for _ in range(3)}
    self.assertLen(groups - {self._group(self._folder)}, 3)

  def test_a_group_that_is_chosen_is_kept(self):
    self._group(self._folder)
    self.assertEqual(self._group(self._folder, "chosen"), "chosen")
    self.assertEqual(self._group(self._folder), "chosen")


if __name__ == "__main__":
  absltest.main()
