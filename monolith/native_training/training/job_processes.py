"""Jobs of real processes on this machine, for tests: processes of `sums_job`."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from monolith.native_training.local_runner import local_cluster
from monolith.native_training.training.checkpoints import checkpoint

LIMIT_SECONDS = 240
Task = tuple[str, int]  # Type and index.


class JobProcesses:
  """The processes of a job; a context manager that leaves none behind.

  Args:
    jobs: how many processes of each type.
    folder: for the model and the processes' logs.
    *flags: for each process.
    evaluator: whether there is one as well.

  Attributes:
    flags: for each process that is started.
    model_dir: the job's.
    tasks: of all processes.
  """

  def __init__(
    self, jobs: dict[str, int], folder: str, *flags: str, evaluator: bool = False
  ):
    self._cluster = {
      name: [f"127.0.0.1:{port}" for port in local_cluster.free_ports(count)]
      for name, count in jobs.items()
    }
    self._routes: dict[Task, dict[str, list[str]]] = {}
    self._folder = folder
    self.flags = flags
    self._processes: dict[Task, subprocess.Popen] = {}
    self._starts = 0
    self.model_dir = os.path.join(folder, "model")
    self.tasks = [(name, i) for name, count in jobs.items() for i in range(count)]
    if evaluator:
      self.tasks.append(("evaluator", 0))

  def __enter__(self) -> JobProcesses:
    return self

  def __exit__(self, *exception) -> None:
    self.kill(*self._processes)

  def addresses(self, job: str) -> list[str]:
    """Of the processes of a type, `host:port`."""
    return list(self._cluster[job])

  def route(self, task: Task, job: str, addresses: list[str]) -> None:
    """Lets a process that is started later reach those of a type by other addresses."""
    self._routes.setdefault(task, {})[job] = addresses

  def start(self, *tasks: Task) -> None:
    """Starts processes, or starts them again."""
    for task in tasks:
      process = self._processes.get(task)
      if process and process.poll() is None:
        raise ValueError(f"{task} is running")
      config = {
        "cluster": {**self._cluster, **self._routes.get(task, {})},
        "task": {"type": task[0], "index": task[1]},
      }
      self._starts += 1
      with open(self._log_file(task), "w") as log:
        self._processes[task] = subprocess.Popen(
          [
            sys.executable,
            "-m",
            "monolith.native_training.training.sums_job",
            f"--model_dir={self.model_dir}",
            f"--progress_file={self._progress_file(task)}",
            *self.flags,
          ],
          env={
            **os.environ,
            "TF_CONFIG": json.dumps(config),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": os.pathsep.join(sys.path),
          },
          stderr=log,
        )

  def _log_file(self, task: Task) -> str:
    return os.path.join(self._folder, f"{task[0]}-{task[1]}.log")

  def _progress_file(self, task: Task) -> str:
    return os.path.join(self._folder, f"{task[0]}-{task[1]}.json")

  def progress(self, task: Task) -> dict:
    """What a process says in its progress file; {} where there is none."""
    try:
      with open(self._progress_file(task)) as file:
        return json.load(file)
    except FileNotFoundError:
      return {}

  def log(self, task: Task) -> str:
    """What a process has said since it was started last."""
    with open(self._log_file(task)) as file:
      return file.read()

  def kill(self, *tasks: Task) -> None:
    """Kills processes with SIGKILL."""
    for task in tasks:
      self._processes[task].kill()
    for task in tasks:
      self._processes[task].wait()
      if os.path.exists(self._progress_file(task)):
        os.remove(self._progress_file(task))

  def send(self, signum: signal.Signals, *tasks: Task) -> None:
    for task in tasks:
      self._processes[task].send_signal(signum)

  def limit_files(self, limit: int | None, *tasks: Task) -> None:
    """Lets processes write no more than so many bytes of any file; None is as many as
    they like."""
    for task in tasks:
      pid = self._processes[task].pid
      _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
      resource.prlimit(
        pid, resource.RLIMIT_FSIZE, (most if limit is None else limit, most)
      )

  def wait(self, task: Task, timeout_secs: float = LIMIT_SECONDS) -> int:
    """Waits for a process to end by itself; returns its exit code.

    Raises:
      subprocess.TimeoutExpired: it does not.
    """
    return self._processes[task].wait(timeout=timeout_secs)

  def wait_until(self, what: str, is_so: Callable[[], bool]) -> None:
    """Waits for something.

    Raises:
      TimeoutError: it does not come.
    """
    give_up = time.monotonic() + LIMIT_SECONDS
    while not is_so():
      if time.monotonic() > give_up:
        logs = "\n".join(
          f"{task}: {self.log(task)[-1000:]}" for task in self._processes
        )
        raise TimeoutError(f"there was never {what}. The ends of the logs:\n{logs}")
      time.sleep(0.1)

  def wait_for_checkpoint(self) -> None:
    self.wait_until(
      "a checkpoint", lambda: bool(checkpoint.latest_checkpoint(self.model_dir))
    )

  def wait_for_position(self, task: Task, position: int) -> None:
    """Waits until a worker has trained on so many batches of its data."""
    self.wait_until(
      f"batch {position} of {task}",
      lambda: self.progress(task).get("position", 0) >= position,
    )
