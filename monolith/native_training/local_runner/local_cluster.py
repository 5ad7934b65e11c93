"""A TensorFlow cluster on this machine: addresses, and the environment of each task."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import socket
import sys
from collections.abc import Iterator, Mapping

_HOST = "127.0.0.1"
# Below the ports that systems hand out to clients (from 32768 on Linux), so that no
# connection can take a port between its choice and its use.
_PORTS = range(15000, 32000)


def free_ports(count: int) -> list[int]:
  """Ports of this machine that nobody listens on, all different.

  They are not reserved: somebody else may take one before it is used.

  Raises:
    OSError: there are not so many.
  """
  with_sockets: list[socket.socket] = []
  try:
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
      if len(with_sockets) == count:
        break
      candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
      try:
        candidate.bind((_HOST, port))
        with_sockets.append(candidate)
      except OSError:
        candidate.close()
    if len(with_sockets) < count:
      raise OSError(f"only {len(with_sockets)} of {count} ports are free on {_HOST}")
    return [s.getsockname()[1] for s in with_sockets]
  finally:
    for s in with_sockets:
      s.close()


def check_is_free(port: int) -> None:
  """Raises `OSError`, saying why, if no server can listen at a port of this machine."""
  with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind((_HOST, port))


@dataclasses.dataclass(frozen=True)
class Task:
  """One process of a cluster; `name` is for people, such as `worker 0`."""

  role: str
  index: int
  tf_config: str

  @property
  def name(self) -> str:
    return f"{self.role} {self.index}"


def local_cluster(num_ps: int, num_workers: int) -> list[Task]:
  """Lays out a cluster on free ports of this machine.

  Args:
    num_ps: parameter servers, 0 or more.
    num_workers: workers, 1 or more; the first one is chief.

  Returns:
    The tasks, servers first.

  Raises:
    ValueError: such a cluster cannot work; the message says why.
  """
  if num_ps < 0 or num_workers < 1:
    raise ValueError(
      f"got {num_ps} servers and {num_workers} workers, wanted at least 0 and 1"
    )
  if num_ps == 0 and num_workers > 1:
    raise ValueError(f"{num_workers} workers need at least one parameter server")
  addresses = [f"{_HOST}:{port}" for port in free_ports(num_ps + num_workers)]
  cluster = {"worker": addresses[num_ps:]}
  if num_ps:
    cluster["ps"] = addresses[:num_ps]

  def tasks(role: str) -> Iterator[Task]:
    for index in range(len(cluster.get(role, []))):
      config = {"cluster": cluster, "task": {"type": role, "index": index}}
      yield Task(role, index, json.dumps(config))

  return [*tasks("ps"), *tasks("worker")]


def python_environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
  """Environment in which another Python finds the modules that this one finds.

  Args:
    base: the variables to start from; `TF_CONFIG` is left out.
  """
  environment = {k: v for k, v in base.items() if k != "TF_CONFIG"}
  environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
  environment["PYTHONSAFEPATH"] = "1"  # Not the working folder's modules.
  environment["PYTHONUNBUFFERED"] = "1"
  environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
  # Each process would take all memory of a GPU.
  environment.setdefault("CUDA_VISIBLE_DEVICES", "-1")
  # gRPC would send even local calls through a proxy.
  environment["no_grpc_proxy"] = ",".join(
    filter(None, [environment.get("no_grpc_proxy"), _HOST])
  )
  return environment
