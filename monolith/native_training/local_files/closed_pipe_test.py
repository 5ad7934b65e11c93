import os
import subprocess
import sys
import textwrap

from absl.testing import absltest, parameterized

_PROGRAM = """
import sys
from monolith.native_training.local_files import closed_pipe

@closed_pipe.ends_quietly
def main(name):
  print("to nobody", file=getattr(sys, name), flush=len(sys.argv) > 2)
  return 7

sys.exit(main(sys.argv[1]))
"""


class ClosedPipeTest(parameterized.TestCase):
  def _run(self, name: str, *arguments: str, **streams) -> subprocess.CompletedProcess:
    return subprocess.run(
      [sys.executable, "-c", textwrap.dedent(_PROGRAM), name, *arguments],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      text=True,
      check=False,
      **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )

  def test_output_that_is_read(self):
    run = self._run("stdout")
    self.assertEqual((run.returncode, run.stdout, run.stderr), (7, "to nobody\n", ""))

  @parameterized.parameters(
    ("stdout", "stderr", ()), ("stdout", "stderr", ("flush",)), ("stderr", "stdout", ())
  )
  def test_output_that_nobody_reads(self, name, other, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    run = self._run(name, *arguments, **{name: writer})
    os.close(writer)
    self.assertEqual((run.returncode, getattr(run, other)), (1, ""))


if __name__ == "__main__":
  absltest.main()
