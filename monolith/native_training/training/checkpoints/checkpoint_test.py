import json
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.training.checkpoints import (
  checkpoint,
  checkpoint_errors,
  manifest,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
  StorageError,
)
from monolith.native_training.training.checkpoints.manifest import Manifest


class CheckpointManifestTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path

  def _path(self, step: int) -> str:
    return os.path.join(self._dir, f"model.ckpt-{step}")

  def _add(self, step: int, content: str | dict | None = None, **fields) -> str:
    """Makes the folder of a checkpoint; without manifest where that is `''`."""
    path = self._path(step)
    os.makedirs(f"{path}.tables")
    if content is None:
      fields = {
        "save_id": f"save{step}",
        "tables": ["user"],
        "table_files": ["part-00000-of-00002", "part-00001-of-00002"],
        "rows": 3,
        **fields,
      }
      checkpoint.write_manifest(path, Manifest(global_step=step, **fields))
    elif content != "":
      self._write(path, content)
    return path

  def _write(self, path: str, content: str | bytes | dict) -> None:
    text = json.dumps(content) if isinstance(content, dict) else content
    data = text.encode() if isinstance(text, str) else text
    with open(f"{path}.tables/manifest.json", "wb") as file:
      file.write(data)

  def test_the_newest_is_the_one_with_the_highest_step(self):
    paths = [self._add(step) for step in (9, 100, 20)]
    self.assertEqual(checkpoint.checkpoints(self._dir), [paths[0], paths[2], paths[1]])
    self.assertEqual(checkpoint.latest_checkpoint(self._dir), paths[1])
    self.assertEqual(checkpoint.step_of(paths[1]), 100)

  def test_one_that_takes_anothers_place_while_they_are_listed_is_found(self):
    self._add(10)
    listed = tf.io.gfile.listdir

    def listdir(folder: str) -> list[str]:
      names = listed(folder)
      if not os.path.exists(self._path(20) + ".tables"):
        self._add(20)
        checkpoint.remove(self._path(10))
      return names

    with mock.patch.object(tf.io.gfile, "listdir", listdir):
      self.assertEqual(checkpoint.checkpoints(self._dir), [self._path(20)])

  def test_storage_that_does_not_answer_is_no_empty_folder(self):
    self._add(10)
    away = tf.errors.UnavailableError(None, None, "storage is away")
    for broken in ("listdir", "exists"):
      with mock.patch.object(tf.io.gfile, broken, side_effect=away):
        with self.assertRaisesRegex(StorageError, "cannot be read .storage is away"):
          checkpoint.checkpoints(self._dir)
    with (
      mock.patch.object(tf.io.gfile, "isdir", return_value=False),
      mock.patch.object(tf.io.gfile, "stat", side_effect=away),
      self.assertRaises(StorageError),
    ):
      checkpoint.checkpoints(self._dir)
    self.assertEqual(checkpoint.checkpoints(self._path(10)), [])

  def test_a_manifest_of_storage_that_does_not_answer_is_not_damaged(self):
    path = self._add(10)
    for kind in (tf.errors.FailedPreconditionError, tf.errors.InternalError):
      away = kind(None, None, "could not resolve the host")
      with (
        mock.patch.object(tf.io.gfile.GFile, "read", side_effect=away),
        self.assertRaisesRegex(StorageError, "could not resolve the host"),
      ):
        checkpoint.read_manifest(path)

  def test_a_folder_in_place_of_a_manifest_is_damage(self):
    path = self._add(10)
    manifest_file = os.path.join(checkpoint.tables_dir(path), "manifest.json")
    os.remove(manifest_file)
    os.mkdir(manifest_file)
    with self.assertRaises(DamagedCheckpointError):
      checkpoint.read_manifest(path)
    # As a server says it of a file of rows.
    said = "reading table file f: f; Is a directory\n\t [[{{node RestoreTables}}]]"
    error = tf.errors.FailedPreconditionError(None, None, said)
    damaged = checkpoint_errors.of_reading(error, said)
    self.assertIsInstance(damaged, DamagedCheckpointError)

  def test_one_without_manifest_does_not_exist(self):
    complete = self._add(10)
    self._add(20, "")
    open(self._path(20) + ".index", "w").close()
    self.assertEqual(checkpoint.latest_checkpoint(self._dir), complete)

  def test_a_manifest_that_is_being_written_does_not_count(self):
    self._add(20, "")
    open(self._path(20) + ".tables/manifest.json.tmp", "w").close()
    self.assertIsNone(checkpoint.latest_checkpoint(self._dir))

  def test_other_files_are_passed_over(self):
    self._add(10)
    for name in ("model.ckpt-11.index", "checkpoint", "model.ckpt-x.tables", "eval"):
      os.mkdir(os.path.join(self._dir, name))
    os.makedirs(os.path.join(self._dir, "my_model.ckpt-30.tables"))
    self.assertEqual(checkpoint.checkpoints(self._dir), [self._path(10)])

  def test_a_folder_without_any(self):
    for folder in ("", self._dir, os.path.join(self._dir, "nowhere")):
      self.assertIsNone(checkpoint.latest_checkpoint(folder))
      self.assertEqual(checkpoint.checkpoints(folder), [])

  def test_table_files_are_found_beside_the_manifest(self):
    path = self._add(10)
    self.assertEqual(
      list(checkpoint.table_files(path)),
      [f"{path}.tables/part-{i:05d}-of-00002" for i in (0, 1)],
    )

  def test_a_checkpoint_can_be_moved_with_its_folder(self):
    self._add(10)
    moved = self._dir + "-moved"
    os.rename(self._dir, moved)
    path = checkpoint.latest_checkpoint(moved)
    for name in checkpoint.table_files(path):
      self.assertStartsWith(name, moved)

  @parameterized.parameters("", "{", '{"format_version"', "[1]", "null", b"\xff\xfe{")
  def test_a_damaged_manifest_is_refused_by_name(self, content):
    path = self._add(10, "")
    self._write(path, content)
    with self.assertRaisesRegex(ValueError, "model.ckpt-10.*: damaged manifest"):
      checkpoint.read_manifest(path)

  @parameterized.parameters(
    (b"", "Expecting value, at byte 0"),
    (b'{"a\xc3\xa4": }', "Expecting value, at byte 8"),
    (b'{"a": "\xff"}', "no UTF-8: invalid start byte, at byte 7"),
  )
  def test_where_a_manifest_is_damaged(self, content, message):
    path = self._add(10)
    self._write(path, content)
    with self.assertRaisesRegex(ValueError, f"damaged manifest .{message}"):
      checkpoint.read_manifest(path)

  def test_where_a_manifest_is_not_as_it_was_written(self):
    path = self._add(10)
    with open(f"{path}.tables/manifest.json", "rb") as file:
      content = file.read()
    self._write(path, content[:20] + b" " + content[20:])
    with self.assertRaisesRegex(ValueError, "not as it was written, at byte 20"):
      checkpoint.read_manifest(path)

  def test_a_missing_manifest_is_refused_by_name(self):
    with self.assertRaisesRegex(ValueError, "model.ckpt-10.*: cannot be read"):
      checkpoint.read_manifest(self._path(10))

  def test_a_version_of_the_future_is_refused_by_name(self):
    path = self._add(10, {"format_version": 99})
    with self.assertRaisesRegex(
      ValueError, "model.ckpt-10.*got format version 99, this program reads 2"
    ):
      checkpoint.read_manifest(path)
    self._write(path, {})
    with self.assertRaisesRegex(ValueError, "got format version None"):
      checkpoint.read_manifest(path)

  def test_the_end_of_training_is_noted_and_taken_back(self):
    path = self._add(10, rows=3)
    self.assertFalse(checkpoint.is_final(path))
    before = checkpoint.read_manifest(path)
    checkpoint.mark(path, final=True)
    self.assertTrue(checkpoint.is_final(path))
    checkpoint.mark(path, final=False)
    self.assertFalse(checkpoint.is_final(path))
    after = checkpoint.read_manifest(path)
    self.assertEqual(after, before)
    self.assertEqual(os.listdir(f"{path}.tables"), ["manifest.json"])

  def test_where_the_data_begin_anew(self):
    path = self._add(10)
    self.assertFalse(checkpoint.begins_data_anew(path))
    checkpoint.mark(path, final=True)
    self.assertTrue(checkpoint.begins_data_anew(path))
    # To whom a server was lost at the end the end is no earlier run's.
    self.assertFalse(checkpoint.begins_data_anew(path, in_same_run=True))
    checkpoint.mark(path, final=False, data_from_start=True)
    for in_same_run in (False, True):
      self.assertTrue(checkpoint.begins_data_anew(path, in_same_run))

  def test_every_byte_of_a_manifest_counts(self):
    path = self._add(10, base="model.ckpt-5", base_save_id="x", final=True)
    name = f"{path}.tables/manifest.json"
    with open(name, "rb") as file:
      content = file.read()
    for i in range(len(content)):
      for flip in (1, 0x20, 0x80):
        self._write(path, content[:i] + bytes([content[i] ^ flip]) + content[i + 1 :])
        with self.assertRaisesRegex(ValueError, "manifest.json: "):
          checkpoint.read_manifest(path)
      self._write(path, content[:i])
      with self.assertRaisesRegex(ValueError, "manifest.json: "):
        checkpoint.read_manifest(path)

  @parameterized.parameters(
    ("comment", "hi", "this program knows no field 'comment'"),
    ("rows", "many", "field 'rows' is 'many', wanted a whole number, 0 or more"),
    ("saved_at", 10**30, "field 'saved_at' is 10+, wanted seconds since 1970"),
    ("rows", True, "field 'rows' is True, wanted a whole number"),
    ("final", 1, "field 'final' is 1, wanted true or false"),
    ("base", None, "field 'base' is None, wanted text"),
    ("base", "../other/model.ckpt-1", "which is not in the same folder"),
    ("dense_files", {"/../../x": ""}, "which is no file of dense variables"),
    ("table_files", 7, "field 'table_files' is 7, wanted names"),
    ("table_files", ["../rows"], "names '../rows', which is not beside"),
    ("dense_files", {".index": 3}, "field 'dense_files' is .*, wanted an object"),
    ("tables", ..., "field 'tables' is missing"),
  )
  def test_a_field_that_is_not_as_it_should_be_is_named(self, field, value, message):
    path = self._add(10)
    name = f"{path}.tables/manifest.json"
    with open(name) as file:
      content = json.load(file)
    del content["checksum"]
    content[field] = value
    if value is ...:
      del content[field]
    content["checksum"] = manifest._checksum(content)
    self._write(path, manifest._text(content))
    with self.assertRaisesRegex(ValueError, f"^{name}: .*{message}"):
      checkpoint.read_manifest(path)

  def test_a_chain_has_everything_first(self):
    self._add(10)
    self._add(20, base="model.ckpt-10", base_save_id="save10", table_files=["a"])
    path = self._add(30, base="model.ckpt-20", base_save_id="save20", table_files=["b"])
    self.assertEqual(checkpoint.chain(path), [self._path(n) for n in (10, 20, 30)])
    self.assertEqual(
      checkpoint.table_files(path)[1:],
      [
        f"{self._path(10)}.tables/part-00001-of-00002",
        f"{self._path(20)}.tables/a",
        f"{path}.tables/b",
      ],
    )
    with mock.patch.object(manifest, "read", wraps=manifest.read) as read:
      checkpoint.table_files(path)
      self.assertLen(read.mock_calls, 3)

  def test_a_chain_with_a_gap_is_refused(self):
    path = self._add(30, base="model.ckpt-20", base_save_id="save20")
    with self.assertRaisesRegex(ValueError, "changed since .*-20, which is missing"):
      checkpoint.chain(path)
    self._add(20, save_id="another")
    with self.assertRaisesRegex(
      ValueError, "since save save20, but .* is save another"
    ):
      checkpoint.chain(path)

  def test_files_of_dense_variables_are_compared_with_their_digests(self):
    path = self._path(10)
    with open(path + ".index", "wb") as file:
      file.write(b"12345")
    self._add(10, dense_files={".index": manifest.digest(path + ".index")})
    checkpoint.check_dense_files(path)
    for content in (b"12346", b"1234", b"123456"):
      with open(path + ".index", "wb") as file:
        file.write(content)
      with self.assertRaisesRegex(ValueError, "model.ckpt-10.index is damaged"):
        checkpoint.check_dense_files(path)
    os.remove(path + ".index")
    with self.assertRaisesRegex(ValueError, "model.ckpt-10.index: cannot be read"):
      checkpoint.check_dense_files(path)


if __name__ == "__main__":
  absltest.main()
