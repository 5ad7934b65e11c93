"""Names that are numbers, and folders that hold a model."""

import os

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.model_export import numbered_exports


class NumberedExportsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.base = self.create_tempdir().full_path

  def _touch(self, *path: str) -> str:
    file = os.path.join(self.base, *path)
    os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "xb"):
      pass
    return os.path.dirname(file)

  def test_only_plain_numbers_are_numbers(self):
    largest = str(2**63 - 1)
    refused = (".tmp-101", "007", "best", "-3", str(2**63), "1" * 200, "²", "")
    for name in ("9", "100", "0", largest, *filter(None, refused)):
      os.mkdir(os.path.join(self.base, name))
    self.assertEqual(numbered_exports.numbers(self.base), [0, 9, 100, int(largest)])

  def test_a_missing_folder_is_an_error(self):
    with self.assertRaises(tf.errors.NotFoundError):
      numbered_exports.numbers(os.path.join(self.base, "missing"))

  def test_a_model_is_binary_or_text(self):
    for name in ("saved_model.pb", "saved_model.pbtxt"):
      path = self._touch(name[-3:], name)
      self.assertTrue(numbered_exports.is_model(path))
      self.assertFalse(numbered_exports.is_distributed(path))
    path = self._touch("other", "model.pb")
    self.assertFalse(numbered_exports.is_model(path))

  def test_a_distributed_export_has_its_entry(self):
    path = os.path.dirname(self._touch("1", "entry", "saved_model.pb"))
    self.assertTrue(numbered_exports.is_distributed(path))
    self.assertFalse(numbered_exports.is_model(path))


if __name__ == "__main__":
  absltest.main()
