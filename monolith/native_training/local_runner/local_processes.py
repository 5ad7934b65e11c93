"""Child processes that are watched together and never outlive their parent."""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from monolith.native_training.local_runner.stop_signals import Stopped

_LAST_LINES = 20
_READ_TIMEOUT_SECONDS = 5.0
_POLL_SECONDS = 0.02

# Runs before the command, in its process: on Linux the kernel is told to kill it
# when the parent dies, in whatever way. An exec keeps that setting.
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
  PR_SET_PDEATHSIG = 1
  ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
  if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ProcessFailed(Exception):
  """A process ended with an error.

  Attributes:
    name: which one.
    exit_code: negative for a signal, as in `subprocess`.
    how: the exit code or signal, for people.
    last_lines: the end of what it printed.
    ran_seconds: from its start to its end.
  """

  def __init__(
    self,
    name: str,
    exit_code: int,
    last_lines: Sequence[str],
    ran_seconds: float = 0.0,
    remark: str = "",
  ):
    self.how = f"exit code {exit_code}"
    if exit_code < 0:
      with contextlib.suppress(ValueError):
        self.how = signal.Signals(-exit_code).name
    super().__init__(f"{name} failed ({self.how}){remark}")
    self.name = name
    self.exit_code = exit_code
    self.last_lines = list(last_lines)
    self.ran_seconds = ran_seconds


class LocalProcesses:
  """A set of named child processes, each leader of a session of its own.

  A context manager: leaving it ends whatever still runs, with its descendants. When
  this process is killed outright, Linux kills the children (but not theirs). Used from
  one thread, which has to live as long as the children.

  Args:
    on_line: called with the name of a process and a line that it printed (standard
      output or error, decoded, without the newline); from another thread.
    log_folder: where all that a process prints is kept, as NAME.log; `""` keeps none.
    stop_seconds: how long processes may take to leave in order when `Stopped` ends the
      context, such as for a last checkpoint; less where that is urgent.
  """

  def __init__(
    self,
    on_line: Callable[[str, str], None],
    log_folder: str = "",
    stop_seconds: float = 3.0,
  ):
    self._on_line = on_line
    self._log_folder = log_folder
    self._stop_seconds = stop_seconds
    self._children: dict[str, _Child] = {}

  def __enter__(self) -> LocalProcesses:
    return self

  def __exit__(self, kind, error, trace) -> None:
    if isinstance(error, Stopped):
      self.stop(grace_seconds=self._stop_seconds, is_urgent=error.is_urgent)
    else:
      self.stop()

  def start(
    self, name: str, command: Sequence[str], environment: Mapping[str, str]
  ) -> None:
    """Starts a process.

    Args:
      name: unique among the processes.
      command: program and arguments.
      environment: all of its environment variables.
    """
    if name in self._children:
      raise ValueError(f"there is a process {name!r} already")
    log = ""
    if self._log_folder:
      log = os.path.join(self._log_folder, name.replace(" ", "-") + ".log")
    self._children[name] = _Child(name, command, environment, self._on_line, log)

  def start_again(self, name: str) -> None:
    """Starts a process that has ended: same command, environment and log file."""
    if self._children[name].poll() is None:
      raise ValueError(f"process {name!r} still runs")
    self._children[name] = self._children[name].successor()

  def running(self) -> list[str]:
    """Names of the processes that have not ended."""
    return [name for name, child in self._children.items() if child.poll() is None]

  def exit_codes(self) -> dict[str, int | None]:
    """How each process ended: negative for a signal, None where it still runs."""
    return {name: child.poll() for name, child in self._children.items()}

  def failures(self) -> list[ProcessFailed]:
    """The processes that failed by themselves, in the order in which they did."""
    failed = [
      child
      for child in self._children.values()
      if child.poll() and not child.is_stopped
    ]
    failed.sort(key=lambda child: child.ended_at)
    return [child.failure() for child in failed]

  def check(self) -> None:
    """Raises `ProcessFailed` for the first process that failed by itself."""
    # One failure brings others about; the first one is the one to look at.
    for failure in self.failures():
      raise failure

  def kill(self, name: str) -> bool:
    """Kills a process at once, with SIGKILL, which counts as a failure of its own.

    Returns:
      Whether it still ran.
    """
    return self._children[name].kill_at_once()

  def peak_memory_bytes(self) -> dict[str, int]:
    """The most resident memory of each process so far, as far as was looked at."""
    return {name: child.peak_memory_bytes() for name, child in self._children.items()}

  def stop(
    self,
    names: Sequence[str] | None = None,
    grace_seconds: float = 3.0,
    is_urgent: Callable[[], bool] = lambda: False,
  ) -> None:
    """Ends processes and their descendants: SIGTERM first, SIGKILL after a while.

    Args:
      names: which ones; None is all.
      grace_seconds: time between the two signals.
      is_urgent: called again and again; the second signal comes when it says so.
    """
    children = [self._children[name] for name in names or self._children]
    for child in children:
      child.ask_to_stop()
    deadline = time.monotonic() + grace_seconds
    while time.monotonic() < deadline and any(c.poll() is None for c in children):
      if is_urgent():
        break
      time.sleep(_POLL_SECONDS)
    for child in children:
      child.kill()


class _Child:
  def __init__(
    self,
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    on_line: Callable[[str, str], None],
    log: str,
  ):
    self.name = name
    self.ended_at = 0.0
    self.is_stopped = False
    self._arguments = (name, command, environment, on_line, log)
    self._started_at = time.monotonic()
    self._exit_code: int | None = None
    self._peak_memory_bytes = 0
    self._last_lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    self._process = subprocess.Popen(
      [*launcher, *command],
      env=dict(environment),
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )
    self._reader = threading.Thread(
      target=self._read_output, args=(on_line, log), daemon=True
    )
    self._reader.start()

  def poll(self) -> int | None:
    """The exit code, or None while it runs."""
    if self._exit_code is None:
      # Without reaping it, so that its process group still is its own below.
      ended = os.waitid(
        os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
      )
      if ended is not None:
        self._signal_group(signal.SIGKILL)  # Descendants that it left behind.
        self._exit_code = self._process.wait()
        self.ended_at = time.monotonic()
    return self._exit_code

  def successor(self) -> _Child:
    """Another one like it, after its end."""
    self._reader.join(_READ_TIMEOUT_SECONDS)  # Its last lines come first in the log.
    child = _Child(*self._arguments)
    child._peak_memory_bytes = self._peak_memory_bytes
    return child

  def failure(self) -> ProcessFailed:
    ran_seconds = self.ended_at - self._started_at
    return ProcessFailed(self.name, self.poll(), self.last_lines(), ran_seconds)

  def kill_at_once(self) -> bool:
    is_running = self.poll() is None
    if is_running:
      self._signal_group(signal.SIGKILL)
    return is_running

  def ask_to_stop(self) -> None:
    if self.poll() is None:
      self.is_stopped = True
      self._signal_group(signal.SIGTERM)

  def kill(self) -> None:
    while self.poll() is None:
      self._signal_group(signal.SIGKILL)
      time.sleep(_POLL_SECONDS)
    self._reader.join(_READ_TIMEOUT_SECONDS)

  def last_lines(self) -> list[str]:
    self._reader.join(_READ_TIMEOUT_SECONDS)
    return list(self._last_lines)

  def peak_memory_bytes(self) -> int:
    if self._exit_code is None:
      with contextlib.suppress(OSError, StopIteration, ValueError):
        status = pathlib.Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(x for x in status.splitlines() if x.startswith("VmHWM:"))
        peak_bytes = int(peak.split()[1]) * 1024
        self._peak_memory_bytes = max(self._peak_memory_bytes, peak_bytes)
    return self._peak_memory_bytes

  def _signal_group(self, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(self._process.pid, signum)

  def _read_output(self, on_line: Callable[[str, str], None], log: str) -> None:
    with contextlib.ExitStack() as stack:
      output = stack.enter_context(self._process.stdout)
      file = stack.enter_context(open(log, "ab")) if log else None
      for raw in output:
        line = raw.decode(errors="replace").rstrip("\r\n")
        self._last_lines.append(line)
        # Whatever happens to the reader's own outputs, the process must not block.
        with contextlib.suppress(OSError, ValueError):
          if file:
            file.write(raw)
            file.flush()
        with contextlib.suppress(OSError, ValueError):
          on_line(self.name, line)
