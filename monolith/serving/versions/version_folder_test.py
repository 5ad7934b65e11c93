"""Which folders are versions, and which of them are served."""

import os
import time

from absl.testing import absltest
from google.protobuf import text_format

from monolith.serving.versions import version_folder


def _wanted(policy: str) -> list[int]:
  return version_folder.wanted(
    text_format.Parse(policy, version_folder.Policy()), [1, 5, 30]
  )


class VersionFolderTest(absltest.TestCase):
  def test_complete_exports_are_found(self):
    folder = self.create_tempdir().full_path
    for name in ("9", "100", ".tmp-101", "007", "best"):
      os.mkdir(os.path.join(folder, name))
      with open(os.path.join(folder, name, "saved_model.pb"), "wb"):
        pass
    os.mkdir(os.path.join(folder, "200"))  # Still being copied.
    with open(os.path.join(folder, "300"), "wb"):
      pass
    self.assertEqual(version_folder.versions(folder), [9, 100])

  def test_a_missing_folder_has_no_versions(self):
    missing = os.path.join(self.create_tempdir().full_path, "missing")
    self.assertEqual(version_folder.versions(missing), [])

  def test_a_file_is_no_missing_folder(self):
    file = self.create_tempfile().full_path
    self.assertEqual(version_folder.versions(file), [])
    self.assertRegex(version_folder.why_none(file), "it is a file")

  def test_an_export_is_another_when_any_of_its_files_is(self):
    folder = self.create_tempdir().full_path
    path = os.path.join(folder, "7")
    asset = os.path.join(path, "assets", "table")
    os.makedirs(os.path.dirname(asset))
    self.assertIsNone(version_folder.identity(path))
    for file in (os.path.join(path, "saved_model.pb"), asset):
      with open(file, "wb"):
        pass
    os.symlink("nothing", os.path.join(path, "link"))
    seen = [version_folder.identity(path)]

    def write(mode: str) -> None:
      with open(asset, mode) as file:
        file.write("text")

    for change in (
      lambda: write("a"),
      lambda: write("w"),  # As long as before.
      lambda: os.chmod(asset, 0o400),
      lambda: os.remove(asset),
      lambda: write("w"),
    ):
      time.sleep(0.02)  # More than between two times that a file system tells.
      change()
      seen.append(version_folder.identity(path))
    self.assertLen(set(seen), 6)
    os.rename(folder, folder + "-away")
    os.rename(folder + "-away", folder)
    self.assertEqual(version_folder.identity(path), seen[-1])

  def test_policies(self):
    self.assertEqual(_wanted(""), [30])
    self.assertEqual(_wanted("latest {}"), [30])
    self.assertEqual(_wanted("latest { num_versions: 2 }"), [30, 5])
    self.assertEqual(_wanted("all {}"), [30, 5, 1])
    self.assertEqual(_wanted("specific { versions: 1 versions: 7 }"), [1])

  def test_a_policy_that_wants_nothing(self):
    for text, empty in (("specific {}", True), ("specific { versions: 1 }", False)):
      policy = text_format.Parse(text, version_folder.Policy())
      self.assertEqual(version_folder.is_empty(policy), empty)
    self.assertFalse(version_folder.is_empty(version_folder.Policy()))


if __name__ == "__main__":
  absltest.main()
