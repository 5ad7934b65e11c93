"""What all commands of the checkpoint tool have in common."""

import os
import signal
from unittest import mock

from absl.testing import absltest, parameterized

from monolith.native_training.checkpoint_tool import row_export
from monolith.native_training.checkpoint_tool.tool_test_case import ToolTestCase
from monolith.native_training.training.checkpoints import checkpoint, manifest


class CommandLineTest(ToolTestCase):
  def test_where_there_is_no_checkpoint(self):
    empty = self.create_tempdir().full_path
    os.makedirs(os.path.join(empty, "model.ckpt-5.tables"))
    for command in ("inspect", "verify"):
      self.assert_fails("no complete checkpoint in it", command, empty)
      self.assert_fails("no such folder or checkpoint", command, empty + "/nowhere")
      self.assert_fails("no such folder or checkpoint", command, self.path(400))
      self.assert_fails("no such folder", command, self.file(100))
      self.assert_fails("has no manifest", command, empty + "/model.ckpt-5")

  def test_what_is_replaced_before_it_is_read_is_found_again(self):
    for step in (300, 200):
      checkpoint.remove(self.path(step))
    path, replaced = self.path(100), [f"{self.path(100)}.{i}" for i in (1, 2)]
    check_digest = manifest.check_digest
    for arguments in (
      ("inspect",),
      ("export", "--table=mov", "--format=npz", f"--output={self.dir}/rows"),
    ):
      left = iter(replaced)

      def check(file: str, digest: str) -> None:
        if to := next(left, None):  # noqa: B023
          checkpoint.rename(checkpoint.checkpoints(self.dir)[0], to)
        check_digest(file, digest)

      with mock.patch.object(manifest, "check_digest", check):
        code, out, err = self.run_tool(arguments[0], self.dir, *arguments[1:])
      self.assertEqual(code, 0)
      self.assertIn(f"{replaced[-1]}", out)
      self.assertRegex(err, f"^checkpoint: {path} was removed before it was read\n")
      self.assertLen(err.splitlines(), 2)
      checkpoint.rename(replaced[-1], path)

  def test_relative_paths_count_from_where_the_command_was_typed(self):
    typed_in, name = os.path.split(self.dir)
    with mock.patch.dict(os.environ, {"BUILD_WORKING_DIRECTORY": typed_in}):
      self.assertEqual(self.json("inspect", name)["path"], self.path(300))

  @parameterized.parameters(
    ((),),
    (("look", "here"),),
    (("inspect",),),
    (("inspect", ""),),
    (("verify", ""),),
    (("inspect", "x", "--largest=-1"),),
    (("export", "x", "--table=t", "--output=y"),),
    (("export", "x", "--table=t", "--output=y", "--format=csv"),),
  )
  def test_wrong_usage(self, arguments):
    self.assert_fails("usage: ", *arguments, code=2)

  def test_leaves_nothing_when_terminated(self):
    folder = self.create_tempdir().full_path

    def terminated(path, *_):
      self.assertEqual([os.path.basename(path)], os.listdir(folder))
      os.kill(os.getpid(), signal.SIGTERM)

    arguments = ("--table=mov", "--format=npz", f"--output={folder}/rows.npz")
    with mock.patch.object(row_export, "_write_npz", terminated):
      code, _, _ = self.run_tool("export", self.dir, *arguments)
    self.assertEqual(code, 128 + signal.SIGTERM)
    self.assertEmpty(os.listdir(folder))

  def test_help(self):
    for command in ((), ("inspect",), ("verify",), ("export",)):
      code, out, _ = self.run_tool(*command, "--help")
      self.assertEqual(code, 0)
      self.assertIn("usage: ", out)


if __name__ == "__main__":
  absltest.main()
