import os
import subprocess
import sys

from absl.testing import absltest, parameterized

_TELL = "progress_log.info('loss %.2f', 0.5)"
_PROGRAM = f"""
import logging as python_logging
from absl import app, flags, logging
from monolith.native_training.progress_log import progress_log

def main(argv):
  {_TELL}
  {_TELL}

"""


class ProgressLogTest(parameterized.TestCase):
  def _errors(self, program: str, *arguments: str) -> str:
    """What a program of its own writes to standard error."""
    run = subprocess.run(
      [sys.executable, "-c", _PROGRAM + program, *arguments],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      capture_output=True,
      text=True,
    )
    self.assertEqual(run.returncode, 0, run.stderr)
    return run.stderr

  @parameterized.parameters(
    ("main(None)", ()),
    ("app.run(main)", ()),
    ("python_logging.basicConfig()\nmain(None)", ()),
    ("progress_log.info('first')\npython_logging.basicConfig()\nmain(None)", ()),
    ("logging.set_verbosity(logging.INFO)\nmain(None)", ()),
    ("app.run(main)", ("--verbosity=0",)),
  )
  def test_is_seen(self, program, arguments):
    errors = self._errors(program, *arguments)
    self.assertEqual(errors.count("loss 0.50"), 2, errors)

  @parameterized.parameters(
    ("logging.set_verbosity(logging.WARNING)\nmain(None)", ()),
    ("app.run(main)", ("--verbosity=-1",)),
    ("python_logging.getLogger('monolith').setLevel('WARNING')\nmain(None)", ()),
  )
  def test_is_not_seen_where_the_program_does_not_want_it(self, program, arguments):
    self.assertNotIn("loss", self._errors(program, *arguments))

  def test_names_the_caller_and_not_itself(self):
    for arguments in ((), ("--verbosity=0",)):
      errors = self._errors("app.run(main)", *arguments)
      self.assertNotIn("progress_log.py", errors)


if __name__ == "__main__":
  absltest.main()
