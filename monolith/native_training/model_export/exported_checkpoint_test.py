import os

from absl.testing import absltest, parameterized

from monolith.native_training.model_export import exported_checkpoint
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.manifest import Manifest


class ExportedCheckpointTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.create_tempdir().full_path
    self._base = os.path.join(folder, "exports")
    self._saved = {}
    for step in (10, 20):
      path = checkpoint.path_of(folder, step)
      os.makedirs(checkpoint.tables_dir(path))
      content = Manifest(step, f"save {step}", [], [], 0)
      checkpoint.write_manifest(path, content)
      self._saved[path] = content

  def _export(self, number: int, entry: str = "") -> str:
    folder = os.path.join(self._base, str(number), entry)
    os.makedirs(folder)
    with open(os.path.join(folder, "saved_model.pb"), "w"):
      return folder

  @parameterized.parameters("", "entry")
  def test_exports_of_other_checkpoints_do_not_count(self, entry):
    (first, of_first), (second, of_second) = self._saved.items()
    self.assertFalse(exported_checkpoint.is_exported(first, self._base))
    exported_checkpoint.write(self._export(7, entry), first, of_first)
    self.assertTrue(exported_checkpoint.is_exported(first, self._base))
    self.assertFalse(exported_checkpoint.is_exported(second, self._base))
    exported_checkpoint.write(self._export(8, entry), second, of_second)
    for path in self._saved:
      self.assertTrue(exported_checkpoint.is_exported(path, self._base))

  @parameterized.parameters(None, "", "[]", "{}", "\xff", '{"save_id": 3}')
  def test_exports_that_do_not_say_so_do_not_count(self, text):
    folder = self._export(7)
    if text is not None:
      with open(os.path.join(folder, "checkpoint.json"), "wb") as file:
        file.write(text.encode("latin-1"))
    for path in self._saved:
      self.assertFalse(exported_checkpoint.is_exported(path, self._base))


if __name__ == "__main__":
  absltest.main()
