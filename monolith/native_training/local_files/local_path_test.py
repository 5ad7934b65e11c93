import os

from absl.testing import absltest

from monolith.native_training.local_files import local_path


class WithoutParentsTest(absltest.TestCase):
  def test_links_are_followed_as_the_system_does(self):
    folder = os.path.realpath(self.create_tempdir().full_path)
    os.makedirs(os.path.join(folder, "a", "b"))
    os.symlink("a/b", os.path.join(folder, "link"))
    for prefix in ("", "file://"):
      path = f"{prefix}{folder}/link/../model"
      self.assertEqual(local_path.without_parents(path), f"{folder}/a/model")
    path = f"{folder}/none/../model"
    self.assertEqual(local_path.without_parents(path), f"{folder}/model")

  def test_others_stay_as_they_are(self):
    for path in ("", "a/b", "./a", "/a..b/c", "hdfs://host/a/../b", "file:///a/b"):
      self.assertEqual(local_path.without_parents(path), path)


if __name__ == "__main__":
  absltest.main()
