import os
import pathlib
import sys
import time

from absl.testing import absltest

from monolith.native_training.fault_rounds import round_job
from monolith.native_training.fault_rounds.round_job import JobEnd, RoundJob
from monolith.native_training.local_runner.processes_naming import processes_naming
from monolith.native_training.local_runner.restarts import RestartingProcesses

_LIMIT_SECONDS = 600

# The job of these tests: whose flag says so hangs, or fails the first time.
_JOB = """
import json, os, sys, time
flags = dict(a[2:].split("=", 1) for a in sys.argv[1:])
task = json.loads(os.environ["TF_CONFIG"])["task"]
name = f"{task['type']}-{task['index']}"
print("this is", name)
first = os.path.join(flags["model_dir"], name)
is_first = not os.path.exists(first)
open(first, "w").close()
while task["type"] == "worker" and not os.path.exists(flags["model_dir"] + "/watched"):
  time.sleep(0.02)
if name == flags["hangs"]:
  time.sleep(600)
if name == flags["fails"] and is_first:
  os.kill(os.getpid(), 9)
if name == "worker-0":
  while not os.path.exists(flags["progress_file"].replace("worker-0", "worker-1")):
    time.sleep(0.02)
if task["type"] == "worker":
  open(flags["progress_file"], "w").close()
"""


class RoundJobTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    modules = self.create_tempdir()
    modules.create_file("job_of_a_test.py", _JOB)
    self.enter_context(
      absltest.mock.patch.object(sys, "path", [*sys.path, modules.full_path])
    )
    self._folder = os.path.join(self.create_tempdir().full_path, "round")
    self._seen: set[str] = set()
    self._skipped_seconds = 0
    clock = absltest.mock.Mock(wraps=time)
    clock.monotonic = lambda: time.monotonic() + self._skipped_seconds
    self.enter_context(absltest.mock.patch.object(round_job, "time", clock))

  def _run(self, fails: str = "", hangs: str = "") -> JobEnd:
    job = RoundJob("job_of_a_test", self._folder, 1, 2, _LIMIT_SECONDS)

    def watch(processes: RestartingProcesses) -> None:
      running = processes.running()
      self._seen.update(running)
      pathlib.Path(job.model_dir, "watched").touch()
      if hangs and "ps 0" not in running:
        self._skipped_seconds = _LIMIT_SECONDS

    end = job.run([f"--fails={fails}", f"--hangs={hangs}"], watch)
    self.assertEqual(processes_naming(self._folder), [])
    return end

  def _log(self, name: str) -> str:
    return pathlib.Path(self._folder, name).read_text()

  def test_runs_to_the_end(self):
    end = self._run()
    self.assertEqual(end.failure, "")
    self.assertEqual(end.exit_codes, {"ps 0": 0, "worker 0": 0, "worker 1": 0})
    self.assertEqual(end.restarts, {"ps 0": 0, "worker 0": 0, "worker 1": 0})
    self.assertContainsSubset(["worker 0", "worker 1"], self._seen)
    self.assertEqual(self._log("logs/worker-1.log"), "this is worker-1\n")

  def test_who_fails_is_started_again(self):
    end = self._run(fails="worker-1")
    self.assertEqual(end.failure, "")
    self.assertEqual(end.restarts["worker 1"], 1)
    self.assertRegex(
      self._log("restarts.log"), r"worker 1 failed \(SIGKILL\) .* 0\.5 s"
    )

  def test_what_takes_too_long_is_ended(self):
    end = self._run(hangs="worker-1")
    self.assertEqual(end.failure, "not over after 600 s: worker 0, worker 1")
    self.assertIsNone(end.exit_codes["worker 1"])
    self.assertBetween(end.seconds, _LIMIT_SECONDS, _LIMIT_SECONDS + 60)


if __name__ == "__main__":
  absltest.main()
