import subprocess
import sys

from absl.testing import absltest

from monolith.native_training.local_runner.processes_naming import processes_naming


class ProcessesNamingTest(absltest.TestCase):
  def test_finds_a_process_while_it_runs(self):
    word = self.create_tempdir().full_path
    command = [sys.executable, "-c", "print(flush=True); input()", word]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
      process.stdout.readline()  # Its command line is there a little after its start.
      self.assertEqual(processes_naming(word), [" ".join(command) + " "])
      process.communicate(b"\n")
    self.assertEqual(processes_naming(word), [])


if __name__ == "__main__":
  absltest.main()
