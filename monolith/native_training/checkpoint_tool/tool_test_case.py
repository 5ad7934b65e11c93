"""What tests of the checkpoint tool share: a chain of checkpoints of three servers."""

import contextlib
import io
import json
import os
import shutil

from absl.testing import absltest, parameterized

from monolith.native_training.checkpoint_tool import command_line
from monolith.native_training.training.checkpoints.small_tables import SmallTables

_MANY = [*range(1000, 1500), 2**63 - 1, -(2**63)]


class ToolTestCase(parameterized.TestCase):
  """Has a copy of `model.ckpt-100`, `-200` and `-300`, made from each other, in
  `self.dir`."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.written = absltest.TestCase().create_tempdir().full_path
    with SmallTables(3, max_increments=2) as tables:
      for time in (1000, 1001, 1002):
        tables.train(time, mov=_MANY, uid=range(50))
      tables.train(1003, uid=[50, 51])
      tables.save(cls.written, 100)
      cls.rows_at_100 = tables.rows()
      tables.train(2000, mov=range(1000, 1020), uid=[1, 2])
      tables.erase(mov=range(1010, 1040), uid=[2, 3])
      tables.save(cls.written, 200)
      tables.train(3000, mov=range(1035, 1045))
      tables.erase(mov=[1000, 1036])
      tables.save(cls.written, 300)
      cls.rows = tables.rows()

  def setUp(self):
    super().setUp()
    self.dir = os.path.join(self.create_tempdir().full_path, "model")
    shutil.copytree(self.written, self.dir)

  def run_tool(self, *arguments: str) -> tuple[int, str, str]:
    """The exit code and what was printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      try:
        code = command_line.run(arguments)
      except SystemExit as exit_:
        code = exit_.code
    return code, out.getvalue(), err.getvalue()

  def json(self, *arguments: str, code: int = 0):
    got, out, err = self.run_tool(*arguments, "--json")
    self.assertEqual(got, code, err)
    return json.loads(out)

  def path(self, step: int) -> str:
    return os.path.join(self.dir, f"model.ckpt-{step}")

  def file(self, step: int, server: int = 0, number: int = 0) -> str:
    name = f"rows-{server:05d}-of-00003-{number}-of-2"
    return os.path.join(self.path(step) + ".tables", name)

  def flip(self, file: str, at: int) -> None:
    """Changes a bit."""
    with open(file, "r+b") as f:
      f.seek(at)
      byte = f.read(1)[0]
      f.seek(at)
      f.write(bytes([byte ^ 1]))

  def assert_fails(self, message: str, *arguments: str, code: int = 1) -> None:
    """With one line of an error."""
    got, out, err = self.run_tool(*arguments)
    self.assertEqual((got, out), (code, ""))
    self.assertRegex(err, message)
    if code == 1:
      self.assertLen(err.splitlines(), 1)
