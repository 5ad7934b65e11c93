"""How rows of an embedding table begin, learn and are stored.

Optimizers, initializers and compressors of a slice, as plain settings: the table's
C++ core does the work. `config()` is the form in which the core reads them.

Where a slice names nothing it gets `DEFAULT_INITIALIZER`, `DEFAULT_OPTIMIZER` and
`DEFAULT_COMPRESSOR`: uniform in [-0.05, 0.05], Adagrad with learning rate 0.05 and
accumulator 0.1, and 16 bit floats in exported models.
"""

import dataclasses
from typing import Any, ClassVar

from monolith.native_training.number_checks import is_finite, is_whole

_WANTED = {float: "a finite number", int: "a whole number", bool: "True or False"}


@dataclasses.dataclass(frozen=True)
class Entry:
  """A named group of settings that the table's core understands by `type_name`."""

  type_name: ClassVar[str]

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      wanted = _WANTED.get(field.type, f"an {field.type.__name__}")
      if field.type is float:
        fits = is_finite(value)
      elif field.type is int:
        fits = is_whole(value)
      else:
        fits = isinstance(value, field.type)
      if not fits:
        raise ValueError(
          f"{type(self).__name__}.{field.name}: got {value!r}, wanted {wanted}"
        )
      if field.type in (float, int):  # Of NumPy's numbers JSON knows nothing.
        object.__setattr__(self, field.name, field.type(value))

  def config(self) -> dict[str, Any]:
    """The settings as the JSON object that the core parses."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return {
      "type": self.type_name,
      **{k: v.config() if isinstance(v, Entry) else v for k, v in fields.items()},
    }


@dataclasses.dataclass(frozen=True)
class Optimizer(Entry):
  """How a gradient changes a row."""

  @property
  def depends_on_step(self) -> bool:
    """Whether an update needs the global step."""
    return getattr(self, "warmup_steps", 0) > 0


@dataclasses.dataclass(frozen=True)
class SgdOptimizer(Optimizer):
  """w -= learning_rate * g."""

  type_name: ClassVar[str] = "sgd"
  learning_rate: float = 0.01


@dataclasses.dataclass(frozen=True)
class AdagradOptimizer(Optimizer):
  """n += g^2; w -= learning_rate * g / sqrt(n) (Duchi et al., 2011).

  Args:
    learning_rate: the rate while the slice has no `learning_rate_fn`.
    initial_accumulator_value: n of a new row; above 0.
    weight_decay_factor: adds `weight_decay_factor * w` to g.
    warmup_steps: global steps over which the rate rises linearly from near 0.
  """

  type_name: ClassVar[str] = "adagrad"
  learning_rate: float = 0.05
  initial_accumulator_value: float = 0.1
  weight_decay_factor: float = 0.0
  warmup_steps: int = 0


@dataclasses.dataclass(frozen=True)
class AdadeltaOptimizer(Optimizer):
  """Adadelta (Zeiler, 2012)."""

  type_name: ClassVar[str] = "adadelta"
  learning_rate: float = 0.01
  averaging_ratio: float = 0.9
  epsilon: float = 0.01


@dataclasses.dataclass(frozen=True)
class AdamOptimizer(Optimizer):
  """Adam (Kingma and Ba, 2015), optionally with Nesterov momentum."""

  type_name: ClassVar[str] = "adam"
  learning_rate: float = 0.01
  beta1: float = 0.9
  beta2: float = 0.99
  epsilon: float = 0.01
  use_nesterov: bool = False
  weight_decay_factor: float = 0.0


@dataclasses.dataclass(frozen=True)
class AmsgradOptimizer(Optimizer):
  """Adam whose second moment never falls (Reddi et al., 2018)."""

  type_name: ClassVar[str] = "amsgrad"
  learning_rate: float = 0.01
  beta1: float = 0.9
  beta2: float = 0.99
  epsilon: float = 0.01
  weight_decay_factor: float = 0.0


@dataclasses.dataclass(frozen=True)
class MomentumOptimizer(Optimizer):
  """m = momentum * m + g; w -= learning_rate * m."""

  type_name: ClassVar[str] = "momentum"
  learning_rate: float = 0.01
  momentum: float = 0.9
  use_nesterov: bool = False


@dataclasses.dataclass(frozen=True)
class RmspropOptimizer(Optimizer):
  """Gradients over the root of their running mean square (Hinton, lecture 6e)."""

  type_name: ClassVar[str] = "rmsprop"
  learning_rate: float = 0.01
  momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class FtrlOptimizer(Optimizer):
  """FTRL-Proximal (McMahan et al., 2013)."""

  type_name: ClassVar[str] = "ftrl"
  learning_rate: float = 0.01
  initial_accumulator_value: float = 0.1
  beta: float = 0.0
  l1_regularization: float = 0.0
  l2_regularization: float = 0.0


@dataclasses.dataclass(frozen=True)
class FTRLWithGroupSparsityOptimizer(FtrlOptimizer):
  """FTRL whose L1 term is on a row's norm, so that whole rows become zero."""

  type_name: ClassVar[str] = "ftrl_with_group_sparsity"


@dataclasses.dataclass(frozen=True)
class AdaGradWithGroupLassoOptimizer(AdagradOptimizer):
  """Adagrad with a penalty on a row's norm, so that whole rows become zero."""

  type_name: ClassVar[str] = "adagrad_with_group_lasso"
  l2_regularization: float = 0.0


@dataclasses.dataclass(frozen=True)
class DynamicWdAdagradOptimizer(AdagradOptimizer):
  """Adagrad whose weight decay is decoupled from the gradient."""

  type_name: ClassVar[str] = "dynamic_wd_adagrad"


@dataclasses.dataclass(frozen=True)
class MovingAverageOptimizer(Optimizer):
  """w = momentum * w + (1 - momentum) * g: rows that follow what is fed to them."""

  type_name: ClassVar[str] = "moving_average"
  momentum: float = 0.9


@dataclasses.dataclass(frozen=True)
class StochasticRoundingFloat16OptimizerWrapper(Optimizer):
  """Another optimizer whose rows are rounded at random to 16 bit floats."""

  type_name: ClassVar[str] = "stochastic_rounding_float16"
  optimizer: Optimizer = AdagradOptimizer()

  @property
  def depends_on_step(self) -> bool:
    return self.optimizer.depends_on_step

  @property
  def learning_rate(self) -> float:
    """The rate of the wrapped optimizer."""
    return self.optimizer.learning_rate


@dataclasses.dataclass(frozen=True)
class Initializer(Entry):
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
  """Uniform in [minval, maxval)."""

  type_name: ClassVar[str] = "random_uniform"
  minval: float = -0.05
  maxval: float = 0.05


@dataclasses.dataclass(frozen=True)
class RandomNormalInitializer(Initializer):
  """Normal with the given mean and standard deviation."""

  type_name: ClassVar[str] = "random_normal"
  mean: float = 0.0
  stddev: float = 0.05


@dataclasses.dataclass(frozen=True)
class Compressor(Entry):
  """How the values of a slice are stored in an exported model."""


@dataclasses.dataclass(frozen=True)
class Fp32Compressor(Compressor):
  """32 bit floats: exact."""

  type_name: ClassVar[str] = "fp32"


@dataclasses.dataclass(frozen=True)
class Fp16Compressor(Compressor):
  """16 bit floats."""

  type_name: ClassVar[str] = "fp16"


@dataclasses.dataclass(frozen=True)
class FixedR8Compressor(Compressor):
  """8 bits, evenly spaced in [-fixed_range, fixed_range]."""

  type_name: ClassVar[str] = "fixed_r8"
  fixed_range: float = 1.0


@dataclasses.dataclass(frozen=True)
class OneBitCompressor(Compressor):
  """A sign a value."""

  type_name: ClassVar[str] = "one_bit"


DEFAULT_INITIALIZER = RandomUniformInitializer()
DEFAULT_OPTIMIZER = AdagradOptimizer()
DEFAULT_COMPRESSOR = Fp16Compressor()
