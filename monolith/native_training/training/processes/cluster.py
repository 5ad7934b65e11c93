"""This process's place in the job, from `TF_CONFIG`.

`TF_CONFIG` is JSON, set by the scheduler or the local runner:

  {"cluster": {"chief": [...], "worker": ["host:port", ...], "ps": [...]},
   "task": {"type": "worker", "index": 1}}

Without a `chief` the first worker is chief. Workers are counted with the chief first,
so a job of a chief and two workers has the workers 0, 1 and 2.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

_TYPES = ("chief", "worker", "ps", "evaluator")
# A name, an IPv4 address or an IPv6 address in brackets, and a port.
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.%\w]+\]):(?P<port>[0-9]{1,5})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The processes of a job and which of them this one is.

  Attributes:
    chief: address of the chief, where one is named apart from the workers.
    workers: addresses of the other workers.
    ps: addresses of the parameter servers.
    task_type: `'chief'`, `'worker'`, `'ps'` or `'evaluator'`.
    task_index: index among the processes of this type.
  """

  chief: tuple[str, ...] = ()
  workers: tuple[str, ...] = ()
  ps: tuple[str, ...] = ()
  task_type: str = "worker"
  task_index: int = 0

  @classmethod
  def from_config(cls, config: str | Mapping[str, Any] | None) -> "Cluster":
    """The cluster of a `TF_CONFIG`.

    Args:
      config: JSON text or what it parses to; None or empty is a job of one process.

    Raises:
      ValueError: the text is not JSON or does not describe a cluster and a task.
    """
    if not config:
      return cls()
    if isinstance(config, str):
      try:
        config = json.loads(config)
      except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is not JSON ({error}): {config!r}") from None
    if not isinstance(config, Mapping):
      raise ValueError(f"TF_CONFIG: got {config!r}, wanted an object")
    jobs, task = config.get("cluster"), config.get("task") or {}
    if not jobs:
      if not _is_of_first_worker(task):
        raise ValueError(
          f"TF_CONFIG task: got {task!r} without a cluster, in which only the chief or "
          "worker 0 can be. Is the cluster missing?"
        )
      return cls()
    unknown = set(jobs) - set(_TYPES) if isinstance(jobs, Mapping) else {repr(jobs)}
    if unknown:
      raise ValueError(
        f"TF_CONFIG cluster: got job {', '.join(sorted(unknown))}, wanted lists of "
        f"addresses under {', '.join(_TYPES)}"
      )
    if not isinstance(task, Mapping):
      raise ValueError(
        f"TF_CONFIG task: got {task!r}, wanted an object of type and index"
      )
    for job, addresses in jobs.items():
      if not isinstance(addresses, list) or not all(
        isinstance(a, str) for a in addresses
      ):
        raise ValueError(
          f"TF_CONFIG cluster.{job}: got {addresses!r}, wanted a list of 'host:port'"
        )
    if sum(len(addresses) for addresses in jobs.values()) > 1:
      for key in ("type", "index"):
        if key not in task:
          raise ValueError(
            f"TF_CONFIG task.{key}: is missing, and the cluster has several processes; "
            "without it every one of them would think it is the first worker"
          )
    cluster = cls(
      chief=tuple(jobs.get("chief", ())),
      workers=tuple(jobs.get("worker", ())),
      ps=tuple(jobs.get("ps", ())),
      task_type=task.get("type", "worker"),
      task_index=task.get("index", 0),
    )
    cluster._check_addresses()
    cluster._check_task(len(jobs.get("evaluator", ())))
    return cluster

  @classmethod
  def from_environment(cls) -> "Cluster":
    return cls.from_config(os.environ.get("TF_CONFIG"))

  def _check_addresses(self) -> None:
    seen = set()
    for job in ("chief", "worker", "ps"):
      for address in self._job(job):
        if not _is_address(address):
          raise ValueError(
            f"TF_CONFIG cluster.{job}: got address {address!r}, wanted 'host:port' "
            "with a port from 1 to 65535"
          )
        if address in seen:
          raise ValueError(
            f"TF_CONFIG cluster.{job}: address {address!r} is there twice"
          )
        seen.add(address)

  def _check_task(self, num_evaluators: int) -> None:
    if self.task_type not in _TYPES:
      raise ValueError(
        f"TF_CONFIG task.type: got {self.task_type!r}, wanted one of "
        f"{', '.join(_TYPES)}"
      )
    if len(self.chief) > 1:
      raise ValueError(f"TF_CONFIG cluster.chief: got {len(self.chief)}, wanted one")
    if not self.chief and not self.workers:
      raise ValueError("TF_CONFIG cluster: got neither chief nor worker")
    if self.task_type == "evaluator":
      size = max(num_evaluators, 1)
    else:
      size = len(self._job(self.task_type))
    if type(self.task_index) is not int:
      raise ValueError(
        f"TF_CONFIG task.index: got {self.task_index!r}, wanted a whole number without "
        "quotes"
      )
    if not 0 <= self.task_index < size:
      raise ValueError(
        f"TF_CONFIG task: got {self.task_type} {self.task_index}, but the cluster "
        f"has {size} of that type"
      )
    if self.num_workers > 1 and not self.ps:
      raise ValueError(
        f"TF_CONFIG cluster: got {self.num_workers} workers and no ps; several workers "
        "share their variables and tables on at least one parameter server"
      )

  def _job(self, task_type: str) -> tuple[str, ...]:
    return {"chief": self.chief, "worker": self.workers, "ps": self.ps}[task_type]

  @property
  def is_given(self) -> bool:
    """Whether a `TF_CONFIG` describes it, or this is a process by itself."""
    return bool(self.chief or self.workers)

  @property
  def num_workers(self) -> int:
    """Processes that train: the chief, if any, and the workers."""
    return max(len(self.chief) + len(self.workers), 1)

  @property
  def worker_index(self) -> int:
    """This process among all that train, the chief being 0."""
    is_numbered_after_chief = self.task_type == "worker" and self.chief
    return self.task_index + (1 if is_numbered_after_chief else 0)

  @property
  def is_chief(self) -> bool:
    """Whether this process initializes, saves and ends the job."""
    return self.task_type in ("chief", "worker") and self.worker_index == 0

  @property
  def is_distributed(self) -> bool:
    """Whether variables and tables live on parameter servers."""
    return bool(self.ps)

  @property
  def worker_device(self) -> str:
    return f"/job:{self.task_type}/task:{self.task_index}"

  @property
  def address(self) -> str:
    """Where this process listens: `host:port`."""
    return self._job(self.task_type)[self.task_index]

  @property
  def ps_devices(self) -> list[str | None]:
    """The device of every server that holds tables."""
    if not self.ps:
      return [None]
    return [f"/job:ps/task:{i}/device:CPU:0" for i in range(len(self.ps))]

  def fingerprint(self) -> str:
    """The same for all processes of a job, and for those that are started again."""
    addresses = json.dumps([self.chief, self.workers, self.ps])
    return hashlib.sha256(addresses.encode()).hexdigest()[:16]

  def spec(self) -> tf.train.ClusterSpec:
    jobs = {"chief": self.chief, "worker": self.workers, "ps": self.ps}
    return tf.train.ClusterSpec({k: list(v) for k, v in jobs.items() if v})

  @contextlib.contextmanager
  def input_environment(self) -> Iterator[None]:
    """Sets `TF_CONFIG` as an `input_fn` expects it: present even without a cluster,
    the chief being the first worker, so that `shard(number of workers, task index)`
    gives every worker its own part."""
    workers = [*self.chief, *self.workers] or ["localhost:0"]
    config = {
      "cluster": {"worker": workers, "ps": list(self.ps)},
      "task": {"type": "worker", "index": self.worker_index},
    }
    if not self.ps:
      del config["cluster"]["ps"]
    before = os.environ.get("TF_CONFIG")
    os.environ["TF_CONFIG"] = json.dumps(config)
    try:
      yield
    finally:
      if before is None:
        del os.environ["TF_CONFIG"]
      else:
        os.environ["TF_CONFIG"] = before


def _is_of_first_worker(task: Any) -> bool:
  if not isinstance(task, Mapping):
    return False
  index = task.get("index", 0)
  return task.get("type", "worker") in ("chief", "worker") and index == 0


def _is_address(text: str) -> bool:
  match = _ADDRESS.fullmatch(text)
  if match is None or not 1 <= int(match["port"]) <= 65535:
    return False
  try:
    text.rsplit(":", 1)[0].encode("idna")
  except UnicodeError:  # A label of the name is empty or too long.
    return False
  return True


def alone() -> Cluster:
  """The cluster of a process that works by itself: it reads all of the data."""
  return Cluster()
