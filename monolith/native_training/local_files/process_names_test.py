import os
import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.local_files import process_names


class ProcessNamesTest(absltest.TestCase):
  def test_who_is_gone(self):
    here = process_names.machine()
    with subprocess.Popen(
      [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as p:
      self.assertFalse(process_names.is_gone(here, p.pid))
    self.assertTrue(process_names.is_gone(here, p.pid))
    self.assertFalse(process_names.is_gone("another", p.pid))
    self.assertFalse(process_names.is_gone(here, 10**20))
    self.assertFalse(process_names.is_gone(here, os.getpid()))

  def test_all_processes_of_a_machine_have_one_name(self):
    code = (
      "from monolith.native_training.local_files import process_names\n"
      "print(process_names.machine())"
    )
    other = subprocess.run(
      [sys.executable, "-c", code],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      capture_output=True,
      text=True,
      check=True,
    )
    self.assertEqual(other.stdout.strip(), process_names.machine())
    self.assertRegex(process_names.machine(), "^[0-9a-f]+$")


if __name__ == "__main__":
  absltest.main()
