"""What a case of the conformance suite is: an optimizer and what it must equal."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from monolith.native_training import entry
from monolith.native_training.embedding import plan
from monolith.native_training.optimizer_conformance import references

STEPS, ROWS, DIM = 200, 8, 37
TABLE_NAME = "conformance"
MIDDLE = STEPS // 2  # When tables are saved and restored.


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Learning rates that change with the step.

  Attributes:
    name: for the report.
    ours: what a user gives as `learning_rate_fn`.
    theirs: the same from elsewhere: the rate of a step, from 0.
  """

  name: str
  ours: Callable[[tf.Tensor], tf.Tensor]
  theirs: Callable[[int], float]


@dataclasses.dataclass(frozen=True)
class Case:
  """An optimizer and what it must equal.

  Attributes:
    optimizer: what a user chooses.
    reference_name: its class in TensorFlow, or the paper.
    reference: makes the reference.
    schedule: of the learning rate; None means that of `optimizer`.
  """

  optimizer: entry.Optimizer
  reference_name: str
  reference: references.MakeReference
  schedule: Schedule | None = None

  @property
  def changed_settings(self) -> dict[str, object]:
    """The settings that differ from the optimizer's defaults."""
    defaults = type(self.optimizer)()
    return {
      field.name: getattr(self.optimizer, field.name)
      for field in dataclasses.fields(defaults)
      if getattr(self.optimizer, field.name) != getattr(defaults, field.name)
    }

  @property
  def name(self) -> str:
    settings = ", ".join(f"{k}={v}" for k, v in self.changed_settings.items())
    name = f"{type(self.optimizer).__name__}({settings})"
    return f"{name}, rate {self.schedule.name}" if self.schedule else name

  def tables_rate(self, step: int):
    """What `HashTable.apply_gradients` gets; None means the optimizer's own rate."""
    return self.schedule and self.schedule.ours(tf.constant(step, tf.int64))

  def references_rate(self, step: int) -> np.float32:
    """The rate of a step, from 0, warmed up: TensorFlow has no warm-up of its own."""
    if self.schedule:
      rate = self.schedule.theirs(step)
    else:
      rate = getattr(self.optimizer, "learning_rate", 0.0)
    warmup_steps = getattr(self.optimizer, "warmup_steps", 0)
    done = (step + 1) / warmup_steps if warmup_steps else 1.0
    return np.float32(np.float32(rate) * min(1.0, done))


def start() -> tuple[np.ndarray, np.ndarray]:
  """The ids, int64 `[ROWS]`, and first weights, float32 `[ROWS, DIM]`, of all cases."""
  rng = np.random.default_rng(3)
  ids = rng.integers(-(2**63), 2**63 - 1, ROWS)
  return ids, rng.normal(size=(ROWS, DIM), scale=0.1).astype(np.float32)


def segment_seed() -> int:
  """Of the one segment of the table `TABLE_NAME`."""
  defaults = (entry.DEFAULT_INITIALIZER, entry.DEFAULT_OPTIMIZER)
  segment = plan.Segment("embedding", DIM, *defaults, entry.DEFAULT_COMPRESSOR, 0.0)
  return segment.config(TABLE_NAME)["seed"]


def gradients(step: int) -> np.ndarray:
  """The gradients of a step of all cases: float32 `[ROWS, DIM]`."""
  rng = np.random.default_rng([4, step])
  return rng.normal(size=(ROWS, DIM)).astype(np.float32)
