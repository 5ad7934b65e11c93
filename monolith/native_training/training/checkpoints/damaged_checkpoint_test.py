"""Whatever byte of a checkpoint is not as it was written, restoring refuses it."""

import os
import shutil

from absl.testing import absltest

from monolith.native_training.runtime.ops import testing
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  DamagedCheckpointError,
)
from monolith.native_training.training.checkpoints.small_tables import SmallTables

# One table of short rows keeps the files small: each byte is a restore or two.
_TABLES = [
  {
    "name": "t",
    "occurrence_threshold": 2,
    "admission_capacity": 8,
    "segments": [testing.segment(1, "v", optimizer=testing.ADAGRAD)],
  }
]


class DamagedCheckpointTest(absltest.TestCase):
  """The newest of two checkpoints is made from both, so every file counts."""

  def setUp(self):
    super().setUp()
    folder = self.create_tempdir().full_path
    with SmallTables(1, _TABLES, max_increments=1) as tables:
      for time in (1000, 1001):
        tables.train(time, t=[1, -2, 3, 4])
      tables.save(folder, 1)
      tables.train(2000, t=[-2, 5])
      tables.erase(t=[3])
      self._path = tables.save(folder, 2)
      self._rows, self._variables = tables.rows(), tables.variables()
    self.assertLen(checkpoint.chain(self._path), 2)
    self._tables = self.enter_context(SmallTables(1, _TABLES))
    self._tables.restore(self._path)
    self.assertEqual(self._tables.rows(), self._rows)

  def _assert_refused(self, file: str, content: bytes, damaged: bytes, how: str):
    """Restoring fails and says which file it is."""
    with open(file, "wb") as output:
      output.write(damaged)
    try:
      self._tables.restore(self._path)
    except ValueError as error:
      self.assertIn(file, str(error), how)
    else:
      self.fail(f"{file}, {how}, was restored")
    finally:
      with open(file, "wb") as output:
        output.write(content)

  def _assert_every_byte_counts(self, files: list[str]):
    self.assertNotEmpty(files)
    for file in files:
      with open(file, "rb") as source:
        content = source.read()
      for i in range(len(content)):
        damaged = bytearray(content)
        damaged[i] ^= 1 << i % 8
        self._assert_refused(file, content, bytes(damaged), f"byte {i} flipped")
        self._assert_refused(file, content, content[:i], f"cut to {i} bytes")
      self._assert_refused(file, content, content + b"\0", "a byte longer")
    # Nothing that was refused has left a trace, and the files are as they were.
    self.assertEqual(self._tables.rows(), self._rows)
    self.assertEqual(self._tables.variables(), self._variables)
    self._tables.restore(self._path)
    self.assertEqual(self._tables.rows(), self._rows)
    self.assertEqual(self._tables.variables(), self._variables)

  def test_files_of_rows(self):
    self._assert_every_byte_counts(checkpoint.table_files(self._path))

  def test_manifests(self):
    self._assert_every_byte_counts(
      [
        os.path.join(checkpoint.tables_dir(path), "manifest.json")
        for path in checkpoint.chain(self._path)
      ]
    )

  def test_files_of_dense_variables(self):
    self._assert_every_byte_counts(checkpoint.dense_files(self._path))

  def test_what_is_gone_is_no_base(self):
    folder = self.create_tempdir().full_path
    with SmallTables(1, _TABLES, max_increments=9) as tables:
      for time in (1000, 1001):
        tables.train(time, t=[1, -2, 3, 4, 5, 6])
      for step in range(1, 5):
        path = tables.save(folder, step)
        self.assertLen(checkpoint.chain(path), [0, 1, 2, 1, 2][step])
        if step == 2:
          checkpoint.remove(checkpoint.path_of(folder, 1))
        tables.train(2000 + step, t=[3])
      path = tables.save(folder, 5)
      rows = tables.rows()
    self._tables.restore(path)
    self.assertEqual(self._tables.rows(), rows)

  def test_rows_of_another_save_are_refused(self):
    folder = self.create_tempdir().full_path
    with SmallTables(1, _TABLES) as tables:
      paths = []
      for step in (1, 2):
        tables.train(step, t=[1, -2])
        tables.train(step, t=[1, -2])
        paths.append(tables.save(folder, step))
    before, path = paths
    files = checkpoint.table_files(path)
    for of, to in zip(checkpoint.table_files(before), files, strict=True):
      shutil.copy(of, to)
    of = checkpoint.read_manifest(before).save_id
    self._assert_of_another_save(path, of)

  def test_changes_of_another_save_are_refused(self):
    content = checkpoint.read_manifest(self._path)
    of, content.save_id = content.save_id, "another"
    checkpoint.write_manifest(self._path, content)
    self._assert_of_another_save(self._path, of)

  def _assert_of_another_save(self, path: str, of: str):
    wanted = checkpoint.read_manifest(path).save_id
    # Of files that are read beside each other any may be the first.
    file = os.path.join(checkpoint.tables_dir(path), "rows-")
    message = f"{file}[-0-9of]+ is of save {of}, its manifest wants save {wanted}"
    for restore in (self._tables.restore, self._tables.warm_start):
      with self.assertRaisesRegex(DamagedCheckpointError, message):
        restore(path)
    self.assertEqual(self._tables.rows(), self._rows)

  def test_a_file_that_is_missing_is_named(self):
    for path in checkpoint.chain(self._path):
      files = [os.path.join(checkpoint.tables_dir(path), "manifest.json")]
      files += [f for f in checkpoint.table_files(self._path) if f.startswith(path)]
      if path == self._path:
        files += checkpoint.dense_files(path)
      for file in files:
        os.rename(file, file + ".away")
        # A manifest is what makes a checkpoint: without it there is none.
        name = path if file.endswith("manifest.json") else file
        with self.assertRaisesRegex(ValueError, name):
          self._tables.restore(self._path)
        os.rename(file + ".away", file)
    self.assertEqual(self._tables.rows(), self._rows)


if __name__ == "__main__":
  absltest.main()
