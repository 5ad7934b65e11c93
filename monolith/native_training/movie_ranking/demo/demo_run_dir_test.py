import os
import pathlib
import subprocess
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from monolith.native_training.local_files import process_names
from monolith.native_training.movie_ranking.demo import demo_run_dir

_PROGRAM = """
import pathlib, tempfile
from monolith.native_training.movie_ranking.demo import demo_run_dir

with demo_run_dir.made() as folder:
  pathlib.Path(folder, "ratings").touch()
  print(folder, flush=True)
  input()
"""


class DemoRunDirTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._temporary = self.create_tempdir().full_path
    self.enter_context(mock.patch.object(tempfile, "tempdir", self._temporary))

  def _start(self) -> tuple[subprocess.Popen, str]:
    """Another process, and its folder."""
    process = subprocess.Popen(
      [sys.executable, "-c", _PROGRAM],
      env={
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": self._temporary,
      },
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.addCleanup(process.communicate)
    self.addCleanup(process.kill)
    return process, process.stdout.readline().strip()

  def test_what_a_killed_run_has_left_goes_with_the_next(self):
    killed, left = self._start()
    _, other = self._start()  # Which runs on.
    killed.kill()
    killed.wait()
    self.assertTrue(os.path.exists(os.path.join(left, "ratings")))
    with demo_run_dir.made() as own:
      self.assertCountEqual(
        os.listdir(self._temporary), map(os.path.basename, (own, other))
      )
    self.assertEqual(os.listdir(self._temporary), [os.path.basename(other)])

  def test_what_may_be_of_others_stays(self):
    gone, own = self._start()
    gone.communicate("\n")
    self.assertFalse(os.path.exists(own))
    here = f"monolith-demo-{process_names.machine()}-{gone.pid}"
    for name in ("monolith-demo-x7", f"monolith-demo-elsewhere-{gone.pid}-a", here):
      pathlib.Path(self._temporary, name).mkdir()
    pathlib.Path(self._temporary, f"{here}-file").touch()
    before = os.listdir(self._temporary)
    os.symlink(before[0], os.path.join(self._temporary, f"{here}-link"))
    with demo_run_dir.made():
      pass
    self.assertCountEqual(os.listdir(self._temporary), [*before, f"{here}-link"])


if __name__ == "__main__":
  absltest.main()
