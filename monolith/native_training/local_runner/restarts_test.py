import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

from absl.testing import absltest

from monolith.native_training.local_runner.local_processes import ProcessFailed
from monolith.native_training.local_runner.restarts import (
  RestartingProcesses,
  RestartPolicy,
)

_PATIENCE_SECONDS = 30.0
_QUICK = RestartPolicy(first_pause_seconds=0.05, longest_pause_seconds=0.1)

# Fails as often as the file that it is given says, and says which time it is.
_FAILS_AT_FIRST = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
left = int(path.read_text())
path.write_text(str(left - 1))
print("left", left, flush=True)
sys.exit(3 if left else 0)
"""

# A runner whose only child has failed and is not due for minutes.
_RUNNER = """
import os, sys, time
from monolith.native_training.local_runner import restarts, stop_signals
policy = restarts.RestartPolicy(first_pause_seconds=300)
tell = lambda sentence: print(sentence, flush=True)
try:
  with stop_signals.StopSignals() as signals:
    with restarts.RestartingProcesses(lambda *_: None, "", tell, policy) as processes:
      processes.start("x", [sys.executable, "-c", "exit(1)"], os.environ)
      while processes.running():
        signals.check()
        processes.check()
        time.sleep(0.02)
except stop_signals.Stopped as stop:
  sys.exit(128 + stop.signum)
"""


class RestartPolicyTest(absltest.TestCase):
  def test_pauses_double_up_to_the_longest_and_then_end(self):
    policy = RestartPolicy()
    self.assertEqual(
      [policy.pause_seconds(n) for n in range(11)],
      [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, None],
    )

  def test_any_number_of_restarts(self):
    policy = RestartPolicy(max_restarts=10**6)
    self.assertEqual(policy.pause_seconds(10**5), 30)


class RestartingProcessesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.lines: list[tuple[str, str]] = []
    self.told: list[str] = []
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def _processes(self, policy: RestartPolicy = _QUICK) -> RestartingProcesses:
    return RestartingProcesses(
      lambda *line: self.lines.append(line),
      str(self.folder),
      self.told.append,
      policy,
    )

  def _start(self, processes, name: str, code: str, *arguments: str, **options) -> None:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    processes.start(name, command, os.environ, **options)

  def _start_failing(self, processes, name: str, times: int, **options) -> None:
    path = self.folder / f"{name} fails"
    path.write_text(str(times))
    self._start(processes, name, _FAILS_AT_FIRST, str(path), **options)

  def _check_while(self, processes, condition, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while condition():
      self.assertLess(time.monotonic(), deadline, f"in vain waited for {what}")
      processes.check()
      time.sleep(0.01)
    processes.check()

  def _wait(self, processes) -> None:
    self._check_while(processes, processes.running, "the processes to end")

  def test_a_process_that_fails_is_started_again(self):
    with self._processes() as processes:
      self._start_failing(processes, "worker 0", 2)
      self._start_failing(processes, "worker 1", 0)
      self._wait(processes)
      self.assertEqual(processes.restarts, {"worker 0": 2, "worker 1": 0})
      self.assertEqual(processes.exit_codes(), {"worker 0": 0, "worker 1": 0})
    said = [line for name, line in self.lines if name == "worker 0"]
    self.assertEqual(said, ["left 2", "left 1", "left 0"])
    log = (self.folder / "worker-0.log").read_text()
    self.assertEqual(log, "left 2\nleft 1\nleft 0\n")
    self.assertLen(self.told, 2)
    self.assertRegex(
      self.told[0],
      r"^worker 0 failed \(exit code 3\) after \d+ s; restart 1 in 0.05 s$",
    )
    self.assertRegex(self.told[1], r"restart 2 in 0.1 s$")

  def test_what_fails_without_those_that_have_left_is_given_up(self):
    policy = RestartPolicy(0.1, 0.1, max_restarts=10**6)
    with self._processes(policy) as processes:
      self._start(processes, "ps 0", "")
      self._start(processes, "ps 1", "import time; time.sleep(1)")
      self._start_failing(processes, "chief", 10**6, needs=["ps 0", "ps 1"])
      with self.assertRaisesRegex(
        ProcessFailed, "chief failed .* when ps 0, ps 1 had ended well; it is given up"
      ):
        self._wait(processes)
      self.assertEqual(processes.exit_codes()["ps 1"], 0)

  def test_what_is_left_to_do_when_others_have_left_is_done(self):
    with self._processes() as processes:
      self._start(processes, "ps 0", "")
      self._wait(processes)
      self._start_failing(processes, "chief", 1, needs=["ps 0"])
      self._wait(processes)
      self.assertEqual(processes.exit_codes()["chief"], 0)

  def test_a_process_that_is_killed_is_started_again(self):
    with self._processes() as processes:
      self._start(
        processes, "x", "import time; print('up', flush=True); time.sleep(60)"
      )
      self._check_while(processes, lambda: not self.lines, "the process")
      self.assertTrue(processes.kill("x"))
      self._check_while(processes, lambda: len(self.lines) < 2, "the restart")
      self.assertEqual(processes.restarts, {"x": 1})
    self.assertIn("x failed (SIGKILL)", self.told[0])
    self.assertFalse(processes.kill("x"))

  def test_environment_and_arguments_stay_the_same(self):
    code = """
    import os, sys
    print(sys.argv[2:], os.environ["TF_CONFIG"], os.environ.get("HOME"), flush=True)
    path = sys.argv[1]
    if not os.path.exists(path):
      open(path, "w").close()
      os.kill(os.getpid(), 9)
    """
    with self._processes() as processes:
      command = [sys.executable, "-c", textwrap.dedent(code)]
      command += [str(self.folder / "killed"), "--flag"]
      processes.start("x", command, {"TF_CONFIG": "{}"})
      self._wait(processes)
    self.assertEqual(self.lines, [("x", "['--flag'] {} None")] * 2)

  def test_a_process_that_fails_again_and_again_is_given_up(self):
    policy = RestartPolicy(0.01, 0.01, max_restarts=3)
    with self._processes(policy) as processes:
      self._start_failing(processes, "ps 0", 100)
      with self.assertRaisesRegex(
        ProcessFailed,
        r"ps 0 failed \(exit code 3\) again after 3 restarts in a row, none of which "
        "ran for 60 s; it is given up",
      ) as e:
        self._wait(processes)
    self.assertEqual(e.exception.last_lines, ["left 97"])
    self.assertEqual(processes.restarts, {"ps 0": 3})

  def test_a_good_run_makes_failures_forgotten(self):
    policy = RestartPolicy(0.01, 0.01, good_seconds=0.0, max_restarts=1)
    with self._processes(policy) as processes:
      self._start_failing(processes, "x", 4)
      self._wait(processes)
    self.assertEqual(processes.restarts, {"x": 4})

  def test_some_are_not_started_again(self):
    with self._processes() as processes:
      self._start(processes, "evaluation", "exit(2)", restarts=False)
      with self.assertRaisesRegex(ProcessFailed, "evaluation failed"):
        self._wait(processes)
      self.assertEqual(processes.restarts, {})

  def test_whoever_waits_for_a_restart_counts_as_running(self):
    with self._processes(RestartPolicy(first_pause_seconds=300)) as processes:
      self._start_failing(processes, "x", 1)
      self._check_while(processes, lambda: not self.told, "the failure")
      self.assertEqual(processes.running(), ["x"])
      processes.stop(["x"])
      processes.check()
      self.assertEqual(processes.running(), [])

  def test_nothing_is_started_again_when_all_is_done(self):
    with self._processes(RestartPolicy(first_pause_seconds=300)) as processes:
      self._start_failing(processes, "waits", 1)
      self._check_while(processes, lambda: not self.told, "the failure")
      processes.end_restarts()
      self.assertEqual(processes.running(), [])
      self._start_failing(processes, "fails", 1)
      self._wait(processes)
      self._start(processes, "other", "exit(1)", restarts=False)
      with self.assertRaises(ProcessFailed):
        self._wait(processes)
    self.assertEqual(processes.restarts, {"waits": 0, "fails": 0})
    self.assertRegex(self.told[1], "fails failed .* when all was done; it is not")

  def test_peak_memory_is_that_of_all_runs(self):
    code = """
    import os, sys, time
    if not os.path.exists(sys.argv[1]):
      open(sys.argv[1], "w").close()
      block = b"x" * 200_000_000
    print("up", flush=True)
    time.sleep(60)
    """
    with self._processes() as processes:
      self._start(processes, "x", code, str(self.folder / "begun"))
      self._check_while(processes, lambda: not self.lines, "the process")
      processes.peak_memory_bytes()
      processes.kill("x")
      self._check_while(processes, lambda: len(self.lines) < 2, "the restart")
      self.assertGreater(processes.peak_memory_bytes()["x"], 200e6)

  def test_signals_end_a_pause_at_once(self):
    runner = subprocess.Popen(
      [sys.executable, "-c", _RUNNER],
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      stdout=subprocess.PIPE,
      text=True,
      start_new_session=True,
    )
    self.addCleanup(runner.wait)
    self.addCleanup(runner.kill)
    self.assertIn("restart 1 in 30 s", runner.stdout.readline())
    begin = time.monotonic()
    runner.send_signal(signal.SIGINT)
    self.assertEqual(runner.wait(_PATIENCE_SECONDS), 128 + signal.SIGINT)
    self.assertLess(time.monotonic() - begin, 20)
    runner.stdout.close()


if __name__ == "__main__":
  absltest.main()
