"""The ports of this machine at which the demo's processes listen, as its flags say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from monolith.native_training.local_runner import local_cluster
from monolith.native_training.movie_ranking.demo import demo_flags

HOST = "127.0.0.1"


def metrics_port(worker: int) -> int:
  """Where a worker serves its metrics; 0 where it does not."""
  first = demo_flags.METRICS_PORT.value
  return first and first + worker


def check() -> None:
  """Raises `ValueError`, naming the flag, if a process could not listen at its port."""
  _check_together(_metrics_ports())
  _check_together(_serve_ports())  # When the workers have ended.


def _check_together(ports: Iterable[tuple[str, int]]) -> None:
  """Checks ports that are used at one time; each has the flag that names it."""
  users: dict[int, str] = {}
  for user, port in ports:
    if port in users:
      raise ValueError(f"{users[port]} and {user} are both {port}; choose two ports")
    users[port] = user
    try:
      local_cluster.check_is_free(port)
    except OSError as error:
      raise ValueError(
        f"{user}={port}: cannot listen there: {error.strerror}; choose another"
      ) from None


def _metrics_ports() -> Iterator[tuple[str, int]]:
  if demo_flags.METRICS_PORT.value:
    name = f"--{demo_flags.METRICS_PORT.name}"
    for worker in range(demo_flags.NUM_WORKERS.value):
      yield f"{name} + {worker}" if worker else name, metrics_port(worker)


def _serve_ports() -> Iterator[tuple[str, int]]:
  if demo_flags.SERVE.value:
    for flag in (demo_flags.SERVE_PORT, demo_flags.SERVE_REST_API_PORT):
      yield f"--{flag.name}", flag.value
