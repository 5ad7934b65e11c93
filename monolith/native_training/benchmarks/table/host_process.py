"""Starts hosts of tables (see `host`) and talks to them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile

from monolith.native_training.benchmarks.table.workload import Workload
from monolith.native_training.local_runner.local_cluster import python_environment

_LAST_LINES = 15


class HostFailed(RuntimeError):
  """A host ended too early; the message has the end of what it printed."""


class HostProcess:
  """A host, until the context ends.

  Args:
    module: the subjects that it holds: `tensorflow_subjects` or
      `recommenders_addons_subjects`.
    python: the interpreter, whose environment has what the subjects import.
    workload: sizes and data.
    threads: for TensorFlow.
  """

  def __init__(self, module: str, python: str, workload: Workload, threads: int):
    self._module = module
    self._errors = tempfile.TemporaryFile("w+")
    settings = {
      "module": module,
      "workload": dataclasses.asdict(workload),
      "threads": threads,
    }
    environment = python_environment()
    if python != sys.executable:
      # Our own packages come first otherwise, and are of other versions.
      environment["PYTHONPATH"] = _source_root()
    self._process = subprocess.Popen(
      [python, "-m", f"{__package__}.host", json.dumps(settings)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      text=True,
      env=environment,
    )

  def __enter__(self) -> HostProcess:
    return self

  def __exit__(self, *exception) -> None:
    if exception[0] is not None:
      self._process.kill()
    with contextlib.suppress(BrokenPipeError):
      self._process.stdin.close()
    self._process.wait()
    self._process.stdout.close()
    self._errors.close()

  def ask(self, what: str, **arguments) -> dict:
    """Lets the host do something, and waits for the answer.

    Raises:
      HostFailed: it could not.
    """
    with contextlib.suppress(BrokenPipeError):  # It has ended, which is told below.
      self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
      self._process.stdin.flush()
    answer = self._process.stdout.readline()
    if not answer:
      code = self._process.wait()
      self._errors.seek(0)
      lines = self._errors.read().splitlines()[-_LAST_LINES:]
      raise HostFailed("\n".join([*lines, f"{self._module} ended with {code}"]))
    return json.loads(answer)


def _source_root() -> str:
  """The folder that `monolith` is in."""
  return __file__.removesuffix("/" + __name__.replace(".", "/") + ".py")
