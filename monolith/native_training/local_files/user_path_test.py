import os
from unittest import mock

from absl.testing import absltest

from monolith.native_training.local_files.user_path import user_path


class UserPathTest(absltest.TestCase):
  def test_counts_from_where_bazel_run_was_typed(self):
    with mock.patch.dict(os.environ, BUILD_WORKING_DIRECTORY="/typed/here"):
      self.assertEqual(user_path("out/../model"), "/typed/here/model")
      self.assertEqual(user_path("/elsewhere"), "/elsewhere")

  def test_counts_from_the_current_folder_otherwise(self):
    with mock.patch.dict(os.environ):
      os.environ.pop("BUILD_WORKING_DIRECTORY", None)
      self.assertEqual(user_path("model"), os.path.join(os.getcwd(), "model"))

  def test_home(self):
    with mock.patch.dict(os.environ, HOME="/home/me"):
      self.assertEqual(user_path("~/model"), "/home/me/model")

  def test_leaves_alone_what_is_no_local_path(self):
    self.assertEqual(user_path(""), "")
    self.assertEqual(user_path("gs://bucket/model"), "gs://bucket/model")


if __name__ == "__main__":
  absltest.main()
