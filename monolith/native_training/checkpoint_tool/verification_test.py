"""`checkpoint verify`, and what other commands make of the same damage."""

import contextlib
import os
import shutil
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.checkpoint_tool import table_file
from monolith.native_training.checkpoint_tool.tool_test_case import ToolTestCase
from monolith.native_training.checkpoint_tool.verification import Verifier
from monolith.native_training.training.checkpoints import checkpoint, manifest
from monolith.native_training.training.checkpoints.small_tables import SmallTables


class VerifyTest(ToolTestCase):
  def test_sound_checkpoints(self):
    results = self.json("verify", self.dir)
    self.assertEqual([r["path"] for r in results], [*map(self.path, (100, 200, 300))])
    self.assertEqual([r["rows"] for r in results], [552, 11, 9])
    self.assertTrue(all(r["ok"] and not r["problems"] for r in results))
    code, out, _ = self.run_tool("verify", self.path(300))
    self.assertEqual(code, 0)
    self.assertIn(f"{self.path(300)}: ok (9 rows and 2 erased ids", out)

  def test_a_damaged_file_is_named_with_byte_and_reason(self):
    file = self.file(200, server=1, number=1)
    with open(file, "rb") as f:
      (header,) = np.frombuffer(f.read(8), "<u8")
    second = int(header) + 16
    self.flip(file, second + 20)
    sound, damaged, after = self.json("verify", self.dir, code=1)
    self.assertTrue(sound["ok"])
    self.assertFalse(damaged["ok"])
    self.assertEqual(
      damaged["problems"],
      [{"file": file, "byte": second, "reason": "a checksum is wrong"}],
    )
    # What is made from it is no better.
    (problem,) = after["problems"]
    self.assertIn(f"made from {self.path(200)}, which is damaged", problem["reason"])
    code, out, err = self.run_tool("verify", self.dir)
    self.assertEqual((code, err), (1, ""))
    self.assertIn(f"{file}: a checksum is wrong (in the record at byte {second})", out)
    self.assertIn(f"{self.path(100)}: ok", out)

  def test_a_flipped_bit_anywhere_is_found(self):
    random = np.random.default_rng(2)
    for path in checkpoint.chain(self.path(300)):
      files = checkpoint.dense_files(path)
      files += [f for f in checkpoint.table_files(path) if f.startswith(path)]
      files.append(path + ".tables/manifest.json")
      for file in files:
        at = random.integers(os.path.getsize(file))
        self.flip(file, at)
        (problem, *_) = Verifier().verify(path).problems
        self.assertEqual(problem.path, file)
        self.flip(file, at)
      self.assertEmpty(Verifier().verify(path).problems)

  def _away_for(self, name: str):
    """Makes storage fail for files whose names have a text in them."""
    away = tf.errors.UnavailableError(None, None, "storage is away")
    patches = contextlib.ExitStack()
    for attribute in ("stat", "GFile"):
      function = getattr(tf.io.gfile, attribute)

      def call(path, *arguments, function=function, **named):
        if name in path:
          raise away
        return function(path, *arguments, **named)

      patches.enter_context(mock.patch.object(tf.io.gfile, attribute, call))
    return patches

  def test_what_cannot_be_read_is_not_called_damaged(self):
    for name in ("200.tables/rows", "200.index", "200.tables/manifest"):
      with self.subTest(name), self._away_for(name):
        first, unread, after = self.json("verify", self.dir, code=1)
        self.assertTrue(first["ok"])
        for result in (unread, after):
          self.assertFalse(result["ok"])
          self.assertEmpty(result["problems"])
        self.assertRegex(unread["unread"][0], f"{name}.*storage is away")
        self.assertRegex(after["unread"][0], "model.ckpt-[23]00")
        code, out, err = self.run_tool("verify", self.dir)
        self.assertEqual((code, err), (1, ""))
        self.assertIn(f"{self.path(200)}: could not be read", out)
        self.assertIn(f"{self.path(100)}: ok", out)
        self.assertNotIn(": damaged", out)

  def test_storage_that_fails_in_the_middle_of_a_file_is_no_damage(self):
    records = mock.MagicMock()
    records.__next__.side_effect = tf.errors.UnknownError(
      None, None, "Input/output error"
    )
    with mock.patch.object(table_file, "_records_of", return_value=records):
      result = Verifier().verify(self.path(100))
    self.assertEmpty(result.problems)
    self.assertRegex(result.unread[0], "rows-.*Input/output error.*at byte 0")

  def _removing_at(self, name: str, *paths: str):
    """Has the chief remove checkpoints when a file is read."""
    check_digest = manifest.check_digest

    def call(path: str, wanted: str) -> None:
      if path.endswith(name):
        for each in paths:
          checkpoint.remove(each)
      check_digest(path, wanted)

    return mock.patch.object(manifest, "check_digest", call)

  def test_what_the_chief_removes_meanwhile_is_not_called_damaged(self):
    # The oldest, with what is made from it; and one that was not looked at yet.
    for name, steps, left in (("300.index", (300,), 2), ("100.index", (200, 100), 0)):
      with self._removing_at(name, *map(self.path, steps)):
        code, out, err = self.run_tool("verify", self.dir)
      self.assertEqual(code, 0)
      self.assertLen(out.splitlines(), left)
      for step in steps:
        self.assertIn(f"{self.path(step)} was removed before it was verified", err)

  def test_what_is_made_from_one_that_was_removed_is_damaged(self):
    with self._removing_at("100.index", self.path(100)):
      second, third = self.json("verify", self.dir, code=1)
    for result in (second, third):
      self.assertRegex(result["problems"][0]["reason"], "100, which (is missing|was)")

  def _problems(self, step: int) -> list[tuple[str, str]]:
    (result,) = self.json("verify", self.path(step), code=1)
    return [(problem["file"], problem["reason"]) for problem in result["problems"]]

  def _assert_found(self, step: int, file: str, reason: str) -> None:
    (problem,) = self._problems(step)
    self.assertEqual(problem[0], file)
    self.assertRegex(problem[1], reason)

  @parameterized.parameters(
    (lambda content: content[:-1], "ends within a record"),
    (lambda content: content[: len(content) // 2], "ends within a record"),
    (lambda content: content[: 16 + int.from_bytes(content[:8], "little")], "a footer"),
    (lambda content: b"", "it is empty"),
    (lambda content: content + b"\0", "something follows its footer"),
    (lambda content: content + content, "something follows its footer"),
    (lambda content: b"\x89PNG" * 100, "a checksum is wrong"),
    (lambda content: b"short", "ends within a record"),
    (None, "cannot be read"),
  )
  def test_what_is_no_whole_file_of_rows(self, change, reason):
    file = self.file(100, 2)
    with open(file, "rb") as f:
      content = f.read()
    os.remove(file)
    if change is not None:
      with open(file, "wb") as f:
        f.write(change(content))
    self._assert_found(100, file, reason)
    self.assert_fails(f"{file}: .*{reason}", "inspect", self.path(100))
    # As much as the ops see.
    with SmallTables(1) as tables, self.assertRaisesRegex(ValueError, file):
      tables.restore(self.path(100))

  def test_a_folder_in_place_of_a_file(self):
    file = self.file(100)
    os.remove(file)
    os.mkdir(file)
    self.assertEqual(self._problems(100)[0][0], file)

  def test_a_file_of_another_checkpoint(self):
    shutil.copy(self.file(100), self.file(200))
    self._assert_found(200, self.file(200), "it is of save .* its manifest wants save")

  def test_a_file_in_the_place_of_its_neighbour(self):
    shutil.copy(self.file(100, 0, 0), self.file(100, 0, 1))
    self._assert_found(100, self.file(100, 0, 1), "the same part of its save as")

  def test_dense_variables_that_are_damaged_or_missing(self):
    data, index = self.path(100) + ".data-00000-of-00001", self.path(100) + ".index"
    self.flip(data, 2)
    os.remove(index)
    problems = dict(self._problems(100))
    self.assertRegex(problems[data], "is damaged: it has 8 bytes")
    self.assertRegex(problems[index], "cannot be read")
    self.assert_fails("is damaged|cannot be read", "inspect", self.path(100))

  def test_a_damaged_manifest(self):
    file = self.path(200) + ".tables/manifest.json"
    self.flip(file, 100)
    self._assert_found(200, file, "damaged manifest")
    self.assertLen([r for r in self.json("verify", self.dir, code=1) if r["ok"]], 1)
    self.assert_fails("manifest.json", "inspect", self.path(200))

  def test_a_manifest_that_counts_other_rows(self):
    content = checkpoint.read_manifest(self.path(100))
    content.rows += 1
    checkpoint.write_manifest(self.path(100), content)
    file = self.path(100) + ".tables/manifest.json"
    self._assert_found(100, file, "it says 553 rows .* its files have 552")

  def test_a_manifest_that_names_too_few_files(self):
    content = checkpoint.read_manifest(self.path(100))
    content.table_files = content.table_files[1:]
    checkpoint.write_manifest(self.path(100), content)
    file = self.path(100) + ".tables/manifest.json"
    self._assert_found(100, file, "names 5 files of rows, but the save has 6")

  def test_a_base_that_is_missing_or_another(self):
    shutil.rmtree(self.path(100) + ".tables")
    file = self.path(200) + ".tables/manifest.json"
    self._assert_found(200, file, f"{self.path(100)}, which is missing")
    self.assert_fails("which is missing", "inspect", self.path(200))


if __name__ == "__main__":
  absltest.main()
