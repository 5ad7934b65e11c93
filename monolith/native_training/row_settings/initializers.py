"""Initializers of rows."""

import dataclasses
from typing import ClassVar

from monolith.native_training.row_settings.settings import Settings, at_least


@dataclasses.dataclass(frozen=True)
class Initializer(Settings):
  """The first value of a row: a pure function of table, slice, id and position."""


@dataclasses.dataclass(frozen=True)
class ZerosInitializer(Initializer):
  """All zeros."""

  type_name: ClassVar[str] = "zeros"


@dataclasses.dataclass(frozen=True)
class ConstantsInitializer(Initializer):
  """All `constant`."""

  type_name: ClassVar[str] = "constants"
  constant: float


@dataclasses.dataclass(frozen=True)
class RandomUniformInitializer(Initializer):
  """Uniform in [minval, maxval).

  Args:
    minval: at most `maxval`.
    maxval: at least `minval`; if they are equal all values are.
  """

  type_name: ClassVar[str] = "random_uniform"
  minval: float = -0.05
  maxval: float = 0.05

  def __post_init__(self):
    super().__post_init__()
    if self.minval > self.maxval:
      raise ValueError(
        f"{type(self).__name__}.minval: got {self.minval!r}, wanted at most maxval, "
        f"{self.maxval!r}"
      )


@dataclasses.dataclass(frozen=True)
class RandomNormalInitializer(Initializer):
  """Normal with the given mean and standard deviation.

  Args:
    mean: of all values.
    stddev: at least 0.
  """

  type_name: ClassVar[str] = "random_normal"
  mean: float = 0.0
  stddev: float = at_least(0, 0.05)
