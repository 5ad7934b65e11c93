"""`checkpoint export`."""

import os
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training.checkpoint_tool import row_export
from monolith.native_training.checkpoint_tool.tool_test_case import ToolTestCase
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.manifest import Manifest


class ExportTest(ToolTestCase):
  def test_without_output_the_file_is_where_the_command_was_typed(self):
    typed_in = self.create_tempdir().full_path
    with mock.patch.dict(os.environ, {"BUILD_WORKING_DIRECTORY": typed_in}):
      report = self.json("export", self.dir, "--table=mov", "--format=npz")
    self.assertEqual(report["output"], os.path.join(typed_in, "mov.npz"))
    self.assertEqual(os.listdir(typed_in), ["mov.npz"])

  def test_the_newest_is_passed_over_where_dense_variables_are_damaged(self):
    output = os.path.join(self.create_tempdir().full_path, "rows")
    arguments = (
      "export",
      self.dir,
      "--table=mov",
      "--format=npz",
      f"--output={output}",
    )
    file = self.path(300) + ".data-00000-of-00001"
    with open(file, "ab") as f:
      f.write(b"x")
    code, out, err = self.run_tool(*arguments)
    self.assertEqual(code, 0)
    self.assertIn(f"{self.path(300)} is passed over: {file} is damaged", err)
    self.assertIn(self.path(200), out)
    self.assert_fails(
      f"{file} is damaged", arguments[0], self.path(300), *arguments[2:]
    )

  def _exported(self, kind: str, *arguments: str) -> dict[str, np.ndarray]:
    output = os.path.join(self.create_tempdir().full_path, "rows")
    report = self.json(
      "export",
      self.dir,
      "--table=mov",
      f"--format={kind}",
      f"--output={output}",
      *arguments,
    )
    self.assertEqual(report["rows"], len(self.rows["mov"]))
    self.assertEqual(os.listdir(os.path.dirname(output)), ["rows"])
    if kind == "npz":
      with np.load(output) as file:
        return dict(file)
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(output)
    self.assertEqual(str(table.schema.field("ids").type), "int64")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}

  @parameterized.parameters("npz", "parquet")
  def test_exported_rows(self, kind):
    columns = self._exported(kind, "--with_state")
    wanted = self.rows["mov"]
    ids = columns["ids"].tolist()
    self.assertCountEqual(ids, wanted)
    self.assertEqual(
      list(columns),
      ["ids", "embedding/vec", "embedding/bias", "state/vec"]
      # Which Parquet has no type for.
      + (["state/bias"] if kind == "npz" else [])
      + ["update_times"],
    )
    embeddings = np.array([wanted[i][0] for i in ids], np.float32)
    np.testing.assert_array_equal(
      np.array(columns["embedding/vec"].tolist()), embeddings[:, :3]
    )
    np.testing.assert_array_equal(
      np.array(columns["embedding/bias"].tolist()), embeddings[:, 3:]
    )
    np.testing.assert_array_equal(
      np.array(columns["state/vec"].tolist()), np.array([wanted[i][1] for i in ids])
    )
    self.assertEqual(columns["update_times"].tolist(), [wanted[i][2] for i in ids])

  @parameterized.parameters("npz", "parquet")
  def test_without_state(self, kind):
    self.assertEqual(
      list(self._exported(kind)),
      ["ids", "embedding/vec", "embedding/bias", "update_times"],
    )

  def test_parquet_in_many_groups(self):
    with mock.patch.object(row_export, "_GROUP_BYTES", 100):
      self.assertLen(self._exported("parquet")["ids"], len(self.rows["mov"]))

  def test_without_pyarrow_the_package_is_named(self):
    output = f"--output={self.create_tempdir().full_path}/rows"
    with mock.patch.dict("sys.modules", {"pyarrow": None}):
      self.assert_fails(
        "needs the package pyarrow",
        *("export", self.dir, "--table=mov", "--format=parquet", output),
      )

  def test_an_export_that_fails_leaves_the_file_that_is_there(self):
    output = os.path.join(self.create_tempdir().full_path, "rows")
    arguments = ["export", self.path(100), "--format=npz", f"--output={output}"]
    with open(output, "w") as file:
      file.write("older")
    self.assert_fails("no table 'x', it has mov, uid", *arguments, "--table=x")
    self.flip(self.file(100), os.path.getsize(self.file(100)) - 1)
    self.assert_fails("a checksum is wrong", *arguments, "--table=mov")
    self.assertEqual(os.listdir(os.path.dirname(output)), ["rows"])
    with open(output) as file:
      self.assertEqual(file.read(), "older")

  def test_a_checkpoint_without_tables(self):
    os.mkdir(checkpoint.tables_dir(self.path(400)))
    checkpoint.write_manifest(self.path(400), Manifest(400, "save", [], [], 0))
    self.assert_fails(
      "no table 'mov', it has none at all",
      *("export", self.dir, "--table=mov", "--format=npz", "--output=/tmp/x"),
    )

  def test_an_output_that_cannot_be_written_is_named(self):
    for output in (os.path.join(self.dir, "nowhere", "x"), self.dir):
      self.assert_fails(
        f"cannot write {output}: ",
        *("export", self.dir, "--table=mov", "--format=npz", f"--output={output}"),
      )


if __name__ == "__main__":
  absltest.main()
