"""A model server as a process of its own, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from monolith.native_training.local_runner import http_probe, local_cluster

_START_SECONDS = 120.0
_RUN = """
from unittest import mock
from absl import app
from monolith.serving import model_server
for name, value in {constants}.items():
  mock.patch(name, value).start()
app.run(model_server.main)
"""


class ServerProcess:
  """Runs `model_server` while entered.

  Args:
    log: path that its output goes to.
    *flags: of it, without ports.
    constants: of its modules that have other values in it, by their full names.
  """

  def __init__(
    self, log: str, *flags: str, constants: Mapping[str, float] | None = None
  ):
    self.port, self.rest_port = local_cluster.free_ports(2)
    self.address = f"127.0.0.1:{self.port}"
    self.url = f"http://127.0.0.1:{self.rest_port}"
    self._log = log
    self._flags = flags
    self._program = ("-m", "monolith.serving.model_server")
    if constants:
      self._program = ("-c", _RUN.format(constants=dict(constants)))

  def __enter__(self) -> ServerProcess:
    command = [
      *(sys.executable, *self._program),
      f"--port={self.port}",
      f"--rest_api_port={self.rest_port}",
      *self._flags,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with open(self._log, "ab") as log:
      self.process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        # Python would prefer sources in the current folder, which lack the ops.
        cwd=os.path.dirname(self._log),
      )
    return self

  def __exit__(self, *exception) -> None:
    if self.process.poll() is None:
      self.process.kill()
    self.process.wait()

  @property
  def log(self) -> str:
    """What it has printed."""
    with open(self._log, encoding="utf-8", errors="replace") as file:
      return file.read()

  def wait_until_ready(self, path: str = "/health") -> ServerProcess:
    """Waits until every model can answer, or another path has an answer.

    Raises:
      RuntimeError: it has ended, or it takes too long.
    """
    return self.wait_until(lambda: http_probe.is_answered(self.url + path))

  def wait_until(self, condition: Callable[[], bool]) -> ServerProcess:
    """Waits for a condition; raises as `wait_until_ready`."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and self.process.poll() is None:
      if condition():
        return self
      time.sleep(0.1)
    raise RuntimeError(f"the server is not ready:\n{self.log}")

  def resident_bytes(self) -> int:
    """Its memory."""
    with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
      for line in file:
        if line.startswith("VmRSS:"):
          return int(line.split()[1]) * 1024
    raise RuntimeError("the server has ended")
