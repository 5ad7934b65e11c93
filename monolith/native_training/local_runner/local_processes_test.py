import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

from absl.testing import absltest

from monolith.native_training.local_runner.local_processes import (
  LocalProcesses,
  ProcessFailed,
)
from monolith.native_training.local_runner.stop_signals import Stopped, StopSignals

_PATIENCE_SECONDS = 30.0


def _python(code: str) -> list[str]:
  return [sys.executable, "-c", textwrap.dedent(code)]


def _wait_until(condition, what: str) -> None:
  deadline = time.monotonic() + _PATIENCE_SECONDS
  while not condition():
    if time.monotonic() > deadline:
      raise AssertionError(f"in vain waited for {what}")
    time.sleep(0.02)


def _is_alive(pid: int) -> bool:
  """Whether it runs; a zombie that its new parent has not reaped does not."""
  try:
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
  except FileNotFoundError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"


def _wait_until_ended(pids: list[int]) -> None:
  """What was killed takes a moment to end."""
  for pid in pids:
    _wait_until(lambda pid=pid: not _is_alive(pid), f"the end of {pid}")


# Starts a child of its own and tells both process ids, deaf to SIGTERM.
_STUBBORN_FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".tmp", "w") as file:
  file.write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".tmp", sys.argv[1])
time.sleep(600)
"""

# Starts the same below `LocalProcesses`, and waits for a signal.
_RUNNER = """
import os, sys, time
from monolith.native_training.local_runner import local_processes, stop_signals
code, files = sys.argv[1], sys.argv[2:]
try:
  with stop_signals.StopSignals() as signals:
    with local_processes.LocalProcesses(
      lambda name, line: None, stop_seconds=float(os.environ["STOP_SECONDS"])
    ) as processes:
      for file in files:
        command = [sys.executable, "-c", code, file]
        processes.start(file, command, os.environ)
      while True:
        signals.check()
        time.sleep(0.02)
except stop_signals.Stopped as stop:
  sys.exit(128 + stop.signum)
"""


class LocalProcessesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.lines: list[tuple[str, str]] = []
    self.folder = self.create_tempdir().full_path

  def _processes(self, **options) -> LocalProcesses:
    return LocalProcesses(lambda *line: self.lines.append(line), **options)

  def _start(self, processes: LocalProcesses, name: str, code: str) -> None:
    processes.start(name, _python(code), os.environ)

  def _wait(self, processes: LocalProcesses) -> None:
    _wait_until(lambda: not processes.running(), "the processes to end")

  def _pids(self, name: str) -> list[int]:
    path = pathlib.Path(self.folder, name)
    _wait_until(path.exists, "the process ids")
    return [int(pid) for pid in path.read_text().split()]

  def test_output_is_passed_on_and_kept(self):
    with self._processes(log_folder=self.folder) as processes:
      self._start(
        processes,
        "worker 0",
        r"""
        import sys
        print("one", flush=True)
        print("two", file=sys.stderr, flush=True)
        sys.stdout.buffer.write(b"\xff no newline")
        """,
      )
      self._wait(processes)
      processes.check()
    self.assertEqual(
      self.lines,
      [("worker 0", "one"), ("worker 0", "two"), ("worker 0", "\ufffd no newline")],
    )
    log = pathlib.Path(self.folder, "worker-0.log").read_bytes()
    self.assertIn(b"\xff no newline", log)

  def test_a_failure_brings_the_last_lines(self):
    with self._processes() as processes:
      self._start(processes, "good", "import time; time.sleep(600)")
      self._start(processes, "bad", "for i in range(100): print(i)\nexit(3)")
      _wait_until(lambda: processes.running() == ["good"], "the bad one")
      with self.assertRaisesRegex(ProcessFailed, r"bad failed \(exit code 3\)") as e:
        processes.check()
    self.assertEqual(e.exception.last_lines, [str(i) for i in range(80, 100)])
    self.assertEqual(processes.running(), [])

  def test_the_first_failure_is_told(self):
    with self._processes() as processes:
      told = pathlib.Path(self.folder, "the first has failed")
      waits = """
      import os, sys, time
      while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
      exit(1)
      """
      processes.start("second", [*_python(waits), str(told)], os.environ)
      self._start(processes, "first", "import os; os.kill(os.getpid(), 9)")
      _wait_until(lambda: processes.running() == ["second"], "the first")
      told.touch()
      self._wait(processes)
      with self.assertRaisesRegex(ProcessFailed, r"first failed \(SIGKILL\)"):
        processes.check()

  def test_a_command_that_does_not_exist_is_a_failure(self):
    with self._processes() as processes:
      processes.start("x", ["/no/such/program"], os.environ)
      self._wait(processes)
      with self.assertRaises(ProcessFailed) as e:
        processes.check()
    self.assertIn("No such file or directory", e.exception.last_lines[-1])

  def test_leaving_ends_the_deaf_and_their_descendants(self):
    with self._processes() as processes:
      path = os.path.join(self.folder, "pids")
      processes.start("x", [*_python(_STUBBORN_FAMILY), path], os.environ)
      pids = self._pids("pids")
      self.assertTrue(all(map(_is_alive, pids)))
      begin = time.monotonic()
      processes.stop(grace_seconds=0.2)
      self.assertLess(time.monotonic() - begin, 10)
    _wait_until_ended(pids)

  def test_descendants_of_a_process_that_ended_are_ended(self):
    code = """
    import subprocess, sys
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
    """
    with self._processes() as processes:
      self._start(processes, "x", code)
      self._wait(processes)
      _wait_until(lambda: self.lines, "the output")
      left_behind = int(self.lines[0][1])
      _wait_until(lambda: not _is_alive(left_behind), "the end of the descendant")

  def test_stopping_some(self):
    with self._processes() as processes:
      for name in ("a", "b"):
        self._start(processes, name, "import time; time.sleep(600)")
      processes.stop(["a"])
      self.assertEqual(processes.running(), ["b"])

  def test_memory_of_a_process(self):
    with self._processes() as processes:
      self._start(
        processes,
        "x",
        "b = b'x' * 200_000_000; print(1, flush=True); import time; time.sleep(600)",
      )
      _wait_until(lambda: self.lines, "the process to be large")
      self.assertBetween(processes.peak_memory_bytes()["x"], 200e6, 400e6)
    self.assertGreater(processes.peak_memory_bytes()["x"], 200e6)

  def test_children_have_no_terminal_input(self):
    with self._processes() as processes:
      self._start(processes, "x", "import sys; print(repr(sys.stdin.read()))")
      self._wait(processes)
    self.assertEqual(self.lines, [("x", "''")])

  def _start_runner(
    self, stop_seconds: float = 3.0
  ) -> tuple[subprocess.Popen, list[int]]:
    files = [os.path.join(self.folder, name) for name in ("a", "b")]
    runner = subprocess.Popen(
      [*_python(_RUNNER), _STUBBORN_FAMILY, *files],
      env={
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "STOP_SECONDS": str(stop_seconds),
      },
      start_new_session=True,
    )
    self.addCleanup(runner.wait)
    self.addCleanup(runner.kill)
    return runner, self._pids("a") + self._pids("b")

  def test_signals_to_the_parent_end_everything(self):
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
      with self.subTest(signum):
        runner, pids = self._start_runner()
        begin = time.monotonic()
        runner.send_signal(signum)
        self.assertEqual(runner.wait(_PATIENCE_SECONDS), 128 + signum)
        self.assertLess(time.monotonic() - begin, 10)
        _wait_until_ended(pids)
        for name in ("a", "b"):
          os.remove(os.path.join(self.folder, name))

  def test_who_takes_long_to_leave_has_time_until_a_second_signal(self):
    runner, pids = self._start_runner(stop_seconds=600)
    runner.send_signal(signal.SIGTERM)
    with self.assertRaises(subprocess.TimeoutExpired):
      runner.wait(5)
    self.assertTrue(all(map(_is_alive, pids)))
    runner.send_signal(signal.SIGINT)
    self.assertEqual(runner.wait(_PATIENCE_SECONDS), 128 + signal.SIGTERM)
    _wait_until_ended(pids)

  @absltest.skipUnless(sys.platform == "linux", "needs the Linux kernel")
  def test_the_children_of_a_killed_parent_end(self):
    runner, pids = self._start_runner()
    runner.kill()
    children, grandchildren = pids[::2], pids[1::2]
    for pid in children:
      _wait_until(lambda pid=pid: not _is_alive(pid), "the end of a child")
    for pid in grandchildren:  # Nobody else would.
      os.kill(pid, signal.SIGKILL)


class StopSignalsTest(absltest.TestCase):
  def test_a_signal_is_remembered_and_the_handler_restored(self):
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as signals:
      signals.check()
      os.kill(os.getpid(), signal.SIGTERM)
      with self.assertRaisesRegex(Stopped, "stopped by SIGTERM") as e:
        signals.check()
      self.assertFalse(e.exception.is_urgent())
      os.kill(os.getpid(), signal.SIGINT)
      self.assertTrue(e.exception.is_urgent())
    self.assertEqual(e.exception.signum, signal.SIGTERM)
    self.assertEqual(signal.getsignal(signal.SIGTERM), before)


if __name__ == "__main__":
  absltest.main()
