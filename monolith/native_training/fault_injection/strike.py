"""Kills the processes that a fault names, at its moment."""

from __future__ import annotations

import glob
import os
import re
import time

from monolith.native_training.fault_injection import asked, fault_plan, save_phases
from monolith.native_training.local_runner.local_processes import LocalProcesses

# What a server calls a table file until it is complete.
UNFINISHED = ".tmp-"
# Where TensorFlow gathers the parts of dense variables.
_DENSE_UNFINISHED = ("model.ckpt-*_temp/*", "model.ckpt-*.tempstate*")
_FILE_OF_A_SERVER = re.compile(r"[a-z]+-(\d+)-of-\d+")

# Writing a table file takes a millisecond or two.
_GLANCE_SECONDS = 0.0002
_WATCH_SECONDS = 0.05


class Strike:
  """One fault of one round.

  Args:
    fault: not `NOTHING`.
    processes: of the job, by the local runner's names of tasks.
    model_dir: of the job.
    stop: the chief's, where the fault is a phase at which it stops.

  Attributes:
    struck: names of the processes killed; empty until then.
    was_caught: whether it can be said that the moment was met.
  """

  def __init__(
    self,
    fault: fault_plan.Fault,
    processes: LocalProcesses,
    model_dir: str,
    stop: save_phases.Stop,
  ):
    self._fault = fault
    self._processes = processes
    self._model_dir = model_dir
    self._stop = stop
    self._due: float | None = None
    self.struck: list[str] = []
    self.was_caught = False

  def poll(self, step: int) -> None:
    """Called again and again with the global step; strikes once."""
    if self.struck:
      return
    if self._fault.when in save_phases.PHASES:
      if self._stop.is_reached():
        self._kill()
        self.was_caught = True
        self._stop.go_on()
    elif step < self._fault.share * asked.STEPS:
      return
    elif self._fault.when in fault_plan.FILES:
      self._watch_for_file()
    else:
      self._due = self._due or time.monotonic() + self._fault.seconds
      if time.monotonic() >= self._due:
        self._kill()
        self.was_caught = True

  def _watch_for_file(self) -> None:
    until = time.monotonic() + _WATCH_SECONDS
    is_table_file = self._fault.when == fault_plan.TABLE_FILE
    look = unfinished_files if is_table_file else _unfinished_dense_files
    while time.monotonic() < until:
      found = look(self._model_dir)
      if found:
        self._kill(_server_of(found[0]) if is_table_file else None)
        # A worker writes nothing: it dies beside the writing.
        is_there = os.path.exists(found[0])
        self.was_caught = is_there or self._fault.victim == fault_plan.WORKER
        return
      time.sleep(_GLANCE_SECONDS)

  def _kill(self, server: int | None = None) -> None:
    if server is None:
      server = self._fault.server
    every = [f"ps {i}" for i in range(asked.SERVERS)]
    every += [f"worker {i}" for i in range(asked.WORKERS)]
    names = {
      fault_plan.CHIEF: ["worker 0"],
      fault_plan.WORKER: [f"worker {asked.WORKERS - 1}"],
      fault_plan.SERVER: [f"ps {server}"],
      fault_plan.ALL: every,
    }[self._fault.victim]
    self.struck = [name for name in names if self._processes.kill(name)]


def unfinished_files(model_dir: str) -> list[str]:
  """Table files that are being written, or were when their writer died."""
  pattern = os.path.join(glob.escape(model_dir), "*.tables*", f"*{UNFINISHED}*")
  return glob.glob(pattern)


def _unfinished_dense_files(model_dir: str) -> list[str]:
  return [
    name
    for pattern in _DENSE_UNFINISHED
    for name in glob.glob(os.path.join(glob.escape(model_dir), pattern))
  ]


def _server_of(file: str) -> int | None:
  """Which server writes a file, `rows-00001-of-00002...` for example, if it tells."""
  match = _FILE_OF_A_SERVER.match(os.path.basename(file))
  return int(match[1]) if match and int(match[1]) < asked.SERVERS else None
