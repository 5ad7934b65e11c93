"""`RunnerConfig`: how and where a model runs."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from absl import flags

from monolith.native_training.embedding import plan
from monolith.native_training.folder_names import check_is_no_pattern
from monolith.native_training.local_files import local_path
from monolith.native_training.number_checks import is_finite, is_whole
from monolith.native_training.training.processes.cluster import Cluster

flags.disclaim_key_flags()  # They are who calls `define_flags`'s.

_HELP = {
  "tf_config": "TF_CONFIG as JSON text; default is the environment variable.",
  "model_dir": "Folder of checkpoints, summaries and exports. Empty: a temporary "
  "folder.",
  "model_name": "Name of the tables on the servers; default is the model's name.",
  "num_ps": "Number of parameter servers; follows from TF_CONFIG.",
  "num_workers": "Number of workers, chief included; follows from TF_CONFIG.",
  "server_type": "Role of this process (chief, worker, ps, evaluator); follows from "
  "TF_CONFIG.",
  "index": "Index of this process within its role; follows from TF_CONFIG.",
  "save_checkpoints_steps": "Save after so many global steps.",
  "save_checkpoints_secs": "Save after so many seconds. With neither this nor "
  "save_checkpoints_steps: 600.",
  "checkpoints_max_to_keep": "Older checkpoints are removed, but for those that a kept "
  "one is made of, and a second one with all rows.",
  "checkpoint_increments": "At most so many checkpoints after one with all rows have "
  "only the rows that have changed since the one before. 0: all have all rows.",
  "log_step_count_steps": "Log loss and speed after so many of a worker's steps, "
  "or a minute.",
  "save_summary_steps": "Write TensorBoard summaries after so many of the chief's "
  "steps.",
  "worker_timeout_secs": "How long another process may be silent: at its end the chief "
  "finishes without a worker that is, and fails if that has left data that nobody else "
  "trains on; servers that miss the chief leave with an error, "
  "and so do workers that miss a server.",
  "stop_grace_secs": "How long a parameter server that gets SIGTERM waits for the "
  "chief to save or leave, before it leaves all the same; longer while a save is "
  "running.",
  "admission_capacity": "Of a table with an occurrence threshold: how many ids without "
  "a row each server counts at a time, 8 bytes each (below 100,000: and 20 KiB more).",
  "evict_every_hours": "Remove expired rows after so many hours of training, beside "
  "it; they also go before every checkpoint. 0: only then.",
  "metrics_port": "Serve this process's metrics to Prometheus at this port; 0: not.",
  "metrics_host": "The address at which it does so.",
  "progress_file": "Write this process's progress here as JSON, about once a second.",
}


def _without_last_slashes(path: str) -> str:
  return path.rstrip("/") or path[:1]


@dataclasses.dataclass
class RunnerConfig:
  """Where and how a model runs. Each field is also a command-line flag of a binary that
  calls `define_flags`.

  Attributes:
    tf_config: the cluster, as JSON text or a dict; None is the environment's
      `TF_CONFIG`, and none there is a job of one process.
    model_dir: folder of checkpoints, summaries and exports; `''` is a new
      temporary one.
    model_name: name of the tables on the servers; `''` is the model's name.
    num_ps, num_workers, server_type, index: the cluster in short. They follow from
      `tf_config`; given, they must agree with it.
    save_checkpoints_steps, save_checkpoints_secs: how often to save; with neither,
      every 600 seconds. A checkpoint is also saved at the end.
    checkpoints_max_to_keep: older checkpoints are removed, but for those that a kept
      one is made of, and one more and what that is made of, if it is above 1, while all
      others are made of the same one: with `checkpoint_increments` there are at most
      `checkpoints_max_to_keep + 2 * checkpoint_increments + 1`. Beside these stay, as
      long as it takes, those that are exported, and what they are made of.
    checkpoint_increments: at most so many checkpoints after one with all rows have only
      the rows that have changed since the one before, and which ones are gone; those
      that a kept one is made of are kept as well. All rows are saved sooner where
      increments together have half as many, and after every restore. 0: all have all.
    log_step_count_steps: a worker logs loss and speed after so many of its steps, or
      after the first one that comes a minute later.
    save_summary_steps: summaries after so many of the chief's steps.
    worker_timeout_secs: how long another process may be silent. At its end the chief
      waits for the workers and then finishes without the silent ones, and fails if they
      have left data that nobody else trains on; servers that miss the chief leave with
      an error, and so do workers that miss a server. How long a step or a checkpoint
      takes does not matter.
    stop_grace_secs: how long a parameter server that gets SIGTERM waits for the chief
      to save or leave, before it leaves all the same; while a checkpoint is being
      written it waits as long as the chief gives signs of life. What ends its process
      in the end, as Kubernetes does after `terminationGracePeriodSeconds`, has to come
      later.
    admission_capacity: of a table with an `occurrence_threshold`: how many ids that
      have no row yet each server counts at a time. An id keeps its count as long as
      fewer others than that occur between two of its occurrences, but for 1 in 5,000
      each time; where there are more, those that have not occurred for longest begin
      at 0 again. With its first such id a table takes 8 bytes for each that it may
      count on a server; with a capacity below 100,000, 20 KiB more. Counts are part of
      checkpoints; with another capacity they begin at 0 again, and another number of
      servers takes as many of them as each has room for, the latest before others.
    evict_every_hours: rows that were not updated for their table's `expire_time` are
      removed before every checkpoint, and beside training after so many hours of it; 0
      is only before checkpoints.
    metrics_port, metrics_host: where a worker serves its metrics to Prometheus, at
      path `/metrics`; port 0 is nowhere.
    progress_file: the process keeps its progress here as JSON; `''` writes none.
  """

  tf_config: str | Mapping[str, Any] | None = None
  model_dir: str = ""
  model_name: str = ""
  num_ps: int | None = None
  num_workers: int | None = None
  server_type: str = "worker"
  index: int = 0
  save_checkpoints_steps: int | None = None
  save_checkpoints_secs: float | None = None
  checkpoints_max_to_keep: int = 10
  checkpoint_increments: int = 9
  log_step_count_steps: int = 100
  save_summary_steps: int = 100
  worker_timeout_secs: float = 600.0
  stop_grace_secs: float = 25.0
  admission_capacity: int = plan.DEFAULT_ADMISSION_CAPACITY
  evict_every_hours: float = 1.0
  metrics_port: int = 0
  metrics_host: str = "127.0.0.1"
  progress_file: str = ""

  def __post_init__(self):
    if isinstance(self.tf_config, Mapping):
      self.tf_config = json.dumps(self.tf_config)
    cluster = self.cluster()
    facts = {
      "num_ps": len(cluster.ps),
      "num_workers": cluster.num_workers,
      "server_type": cluster.task_type,
      "index": cluster.task_index,
    }
    defaults = {field.name: field.default for field in dataclasses.fields(self)}
    for name, fact in facts.items():
      given = getattr(self, name)
      if given not in (defaults[name], fact):
        source = (
          f"TF_CONFIG says {fact!r}"
          if cluster.is_given
          else "there is no TF_CONFIG, which says where the job's processes are"
        )
        raise ValueError(f"RunnerConfig.{name}: got {given!r}, but {source}")
      setattr(self, name, fact)
    if not isinstance(self.model_dir, str | os.PathLike):
      raise ValueError(
        f"RunnerConfig.model_dir: got {self.model_dir!r}, wanted a folder's name"
      )
    # Names in it are compared.
    self.model_dir = _without_last_slashes(
      local_path.without_parents(os.fspath(self.model_dir))
    )
    check_is_no_pattern("RunnerConfig.model_dir", self.model_dir)
    for name, is_number, wanted in (
      ("checkpoints_max_to_keep", is_whole, "a whole number"),
      ("log_step_count_steps", is_whole, "a whole number"),
      ("save_summary_steps", is_whole, "a whole number"),
      ("save_checkpoints_steps", is_whole, "a whole number"),
      ("worker_timeout_secs", is_finite, "a number"),
      ("save_checkpoints_secs", is_finite, "a number"),
      ("stop_grace_secs", is_finite, "a number"),
    ):
      value = getattr(self, name)
      if value is None and defaults[name] is None:
        continue
      if not is_number(value) or value <= 0:
        raise ValueError(f"RunnerConfig.{name}: got {value!r}, wanted {wanted} above 0")

    plan.check_admission_capacity(
      "RunnerConfig.admission_capacity", self.admission_capacity
    )
    increments = self.checkpoint_increments
    if not is_whole(increments) or increments < 0:
      raise ValueError(
        f"RunnerConfig.checkpoint_increments: got {increments!r}, wanted a whole "
        "number, 0 or more"
      )
    port = self.metrics_port
    if not is_whole(port) or not 0 <= port < 1 << 16:
      raise ValueError(
        f"RunnerConfig.metrics_port: got {port!r}, wanted a port, or 0 for none"
      )
    hours = self.evict_every_hours
    if not is_finite(hours) or hours < 0:
      raise ValueError(
        f"RunnerConfig.evict_every_hours: got {hours!r}, wanted a number, 0 or more"
      )

  def cluster(self) -> Cluster:
    """The cluster and this process's place in it."""
    if self.tf_config is not None:
      return Cluster.from_config(self.tf_config)
    return Cluster.from_environment()

  @classmethod
  def define_flags(cls, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a command-line flag for each field; `--help` of the program that calls
    this shows them."""
    define = {
      "int": flags.DEFINE_integer,
      "float": flags.DEFINE_float,
      "str": flags.DEFINE_string,
    }
    for field in dataclasses.fields(cls):
      kind = str(getattr(field.type, "__name__", field.type)).split(" ")[0]
      help_text = _HELP[field.name]
      define[kind](field.name, field.default, help_text, flag_values=flag_values)

  @classmethod
  def from_flags(cls, flag_values: flags.FlagValues = flags.FLAGS) -> "RunnerConfig":
    """The configuration that the command line gives."""
    return cls(**{f.name: flag_values[f.name].value for f in dataclasses.fields(cls)})
