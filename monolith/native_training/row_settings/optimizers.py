"""Optimizers of rows.

In formulas w is a float of the row, g its gradient, summed where an id occurs several
times in a batch; everything else is state that the row keeps, 0 in a new row unless
said otherwise. `runtime/hash_table/optimizer/README.md` tells how near each optimizer
is to TensorFlow's own.
"""

import dataclasses
from typing import ClassVar

from monolith.native_training.row_settings.settings import (
  Settings,
  above,
  at_least,
  fraction,
)

_SMALLEST_NORMAL = 2.0**-126  # of 32 bit floats, in which the core computes


@dataclasses.dataclass(frozen=True)
class Optimizer(Settings):
  """How a gradient changes a row.

  `learning_rate`, where there is one, is the rate while a slice has no
  `learning_rate_fn`.
  """

  @property
  def depends_on_step(self) -> bool:
    """Whether an update needs the global step."""
    return getattr(self, "warmup_steps", 0) > 0


@dataclasses.dataclass(frozen=True)
class SgdOptimizer(Optimizer):
  """w -= learning_rate * g, as `tf.compat.v1.train.GradientDescentOptimizer`.

  Args:
    learning_rate: at least 0.
  """

  type_name: ClassVar[str] = "sgd"
  learning_rate: float = at_least(0, 0.01)


@dataclasses.dataclass(frozen=True)
class AdagradOptimizer(Optimizer):
  """Adagrad, as `tf.compat.v1.train.AdagradOptimizer`.

      g += weight_decay_factor * w
      n += g^2
      w -= learning_rate * g / sqrt(n)

  Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and
  Stochastic Optimization", 2011.

  Args:
    learning_rate: at least 0.
    initial_accumulator_value: n of a new row; above 0.
    weight_decay_factor: at least 0.
    warmup_steps: global steps over which the rate rises linearly from near 0: step s,
      from 0, has (s + 1) / warmup_steps of it.
  """

  type_name: ClassVar[str] = "adagrad"
  learning_rate: float = at_least(0, 0.05)
  initial_accumulator_value: float = at_least(_SMALLEST_NORMAL, 0.1)
  weight_decay_factor: float = at_least(0, 0.0)
  warmup_steps: int = at_least(0, 0)


@dataclasses.dataclass(frozen=True)
class AdadeltaOptimizer(Optimizer):
  """Adadelta, as `tf.compat.v1.train.AdadeltaOptimizer`.

      n    = averaging_ratio * n + (1 - averaging_ratio) * g^2
      step = sqrt((d + epsilon) / (n + epsilon)) * g
      d    = averaging_ratio * d + (1 - averaging_ratio) * step^2
      w   -= learning_rate * step

  Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.

  Args:
    learning_rate: at least 0.
    averaging_ratio: from 0 to below 1.
    epsilon: above 0.
  """

  type_name: ClassVar[str] = "adadelta"
  learning_rate: float = at_least(0, 0.01)
  averaging_ratio: float = fraction(0.9)
  epsilon: float = above(0, 0.01)


@dataclasses.dataclass(frozen=True)
class AdamOptimizer(Optimizer):
  """Adam, as `tf.keras.optimizers.Adam` of Keras 2.

      g += weight_decay_factor * w
      m += (1 - beta1) * (g - m)
      v += (1 - beta2) * (g^2 - v)
      a  = learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t)
      w -= a * m / (sqrt(v) + epsilon)

  t counts the updates of the row, not the global steps: a row makes full steps from
  its first update on. With `use_nesterov` the last line is, as in
  `tf.raw_ops.ResourceApplyAdam`,

      w -= a * (beta1 * m + (1 - beta1) * g) / (sqrt(v) + epsilon)

  Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015; Dozat,
  "Incorporating Nesterov Momentum into Adam", 2016.

  Args:
    learning_rate: at least 0.
    beta1: from 0 to below 1.
    beta2: from 0 to below 1.
    epsilon: above 0.
    use_nesterov: whether a step looks ahead.
    weight_decay_factor: at least 0.
  """

  type_name: ClassVar[str] = "adam"
  learning_rate: float = at_least(0, 0.01)
  beta1: float = fraction(0.9)
  beta2: float = fraction(0.99)
  epsilon: float = above(0, 0.01)
  use_nesterov: bool = False
  weight_decay_factor: float = at_least(0, 0.0)


@dataclasses.dataclass(frozen=True)
class AmsgradOptimizer(Optimizer):
  """Adam whose second moment never falls, as `tf.keras.optimizers.Adam(amsgrad=True)`.

      g, m, v and a as in `AdamOptimizer`
      u  = max(u, v)
      w -= a * m / (sqrt(u) + epsilon)

  Source: Reddi, Kale, Kumar, "On the Convergence of Adam and Beyond", 2018.

  Args:
    learning_rate: at least 0.
    beta1: from 0 to below 1.
    beta2: from 0 to below 1.
    epsilon: above 0.
    weight_decay_factor: at least 0.
  """

  type_name: ClassVar[str] = "amsgrad"
  learning_rate: float = at_least(0, 0.01)
  beta1: float = fraction(0.9)
  beta2: float = fraction(0.99)
  epsilon: float = above(0, 0.01)
  weight_decay_factor: float = at_least(0, 0.0)


@dataclasses.dataclass(frozen=True)
class MomentumOptimizer(Optimizer):
  """Momentum, as `tf.compat.v1.train.MomentumOptimizer`.

      m  = momentum * m + g
      w -= learning_rate * m

  With `use_nesterov` the last line is `w -= learning_rate * (g + momentum * m)`.

  Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and
  momentum in deep learning", 2013.

  Args:
    learning_rate: at least 0.
    momentum: from 0 to below 1.
    use_nesterov: whether a step looks ahead.
  """

  type_name: ClassVar[str] = "momentum"
  learning_rate: float = at_least(0, 0.01)
  momentum: float = fraction(0.9)
  use_nesterov: bool = False


@dataclasses.dataclass(frozen=True)
class RmspropOptimizer(Optimizer):
  """RMSProp, as `tf.keras.optimizers.RMSprop(rho=momentum)` of Keras 2.

      v  = momentum * v + (1 - momentum) * g^2
      w -= learning_rate * g / sqrt(v + epsilon)

  Source: Hinton, Srivastava, Swersky, "Neural Networks for Machine Learning", lecture
  6e, 2012.

  Args:
    learning_rate: at least 0.
    momentum: the inertia of the mean square, not one of w; from 0 to below 1.
    epsilon: above 0.
  """

  type_name: ClassVar[str] = "rmsprop"
  learning_rate: float = at_least(0, 0.01)
  momentum: float = fraction(0.9)
  epsilon: float = above(0, 1e-7)


@dataclasses.dataclass(frozen=True)
class FtrlOptimizer(Optimizer):
  """FTRL-Proximal, as `tf.compat.v1.train.FtrlOptimizer` with a power of -0.5.

      z += g - (sqrt(n + g^2) - sqrt(n)) / learning_rate * w
      n += g^2
      w  = 0  where |z| <= l1, and elsewhere
           (sign(z) * l1 - z) / ((beta + sqrt(n)) / learning_rate + 2 * l2)

  The first update replaces most of a row's initial value: `ZerosInitializer` suits it.

  Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013, whose
  l2 is twice TensorFlow's and this one.

  Args:
    learning_rate: at least 0; with 0 nothing changes.
    initial_accumulator_value: n of a new row; at least 0.
    beta: at least 0.
    l1_regularization: l1, the strength of |w|, which makes floats exactly 0; at
      least 0.
    l2_regularization: l2, the strength of w^2; at least 0.
  """

  type_name: ClassVar[str] = "ftrl"
  learning_rate: float = at_least(0, 0.01)
  initial_accumulator_value: float = at_least(0, 0.1)
  beta: float = at_least(0, 0.0)
  l1_regularization: float = at_least(0, 0.0)
  l2_regularization: float = at_least(0, 0.0)


@dataclasses.dataclass(frozen=True)
class FTRLWithGroupSparsityOptimizer(FtrlOptimizer):
  """FTRL whose l1 is on the norm of the slice, which becomes exactly 0 as a whole.

      z and n as in `FtrlOptimizer`
      w = argmin <z, w> + <w, H w> / 2 + l1 * sqrt(dim) * ||w||
          where H = (beta + sqrt(n)) / learning_rate + 2 * l2

  Source: Yang, Xu, King, Lyu, "Online Learning for Group Lasso", 2010; the factor
  sqrt(dim), by which one l1 fits any width, is Yuan's and Lin's, "Model selection and
  estimation in regression with grouped variables", 2006; the minimum is found as in
  section 5 of Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011.

  Args: as `FtrlOptimizer`, which it is for a slice of one float.
  """

  type_name: ClassVar[str] = "ftrl_with_group_sparsity"


@dataclasses.dataclass(frozen=True)
class AdaGradWithGroupLassoOptimizer(AdagradOptimizer):
  """Adagrad with a penalty on the norm of the slice, which becomes 0 as a whole.

      u = w after a step of `AdagradOptimizer`
      w = argmin <w - u, H (w - u)> / 2
                 + learning_rate * l2_regularization * sqrt(dim) * ||w||
          where H = sqrt(n)

  Source: section 5 of Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online
  Learning and Stochastic Optimization", 2011; the factor sqrt(dim) is Yuan's and
  Lin's, "Model selection and estimation in regression with grouped variables", 2006.

  Args: as `AdagradOptimizer`, and
    l2_regularization: the strength of ||w||, which is not squared; at least 0.
  """

  type_name: ClassVar[str] = "adagrad_with_group_lasso"
  l2_regularization: float = at_least(0, 0.0)


@dataclasses.dataclass(frozen=True)
class DynamicWdAdagradOptimizer(AdagradOptimizer):
  """Adagrad with decoupled decay, as Keras 2's `Adagrad(weight_decay=..., epsilon=0)`.

      w -= learning_rate * weight_decay_factor * w
      n += g^2
      w -= learning_rate * g / sqrt(n)

  The decay follows the learning rate, its warm-up and its schedule, and n does not
  see it.

  Source: Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2019.

  Args: as `AdagradOptimizer`.
  """

  type_name: ClassVar[str] = "dynamic_wd_adagrad"


@dataclasses.dataclass(frozen=True)
class MovingAverageOptimizer(Optimizer):
  """Rows that follow what is fed to them, as `tf.train.ExponentialMovingAverage`.

      w -= (1 - momentum) * (w - g)

  It has no learning rate. What is fed to an id several times in a batch is summed.

  Args:
    momentum: from 0 to below 1.
  """

  type_name: ClassVar[str] = "moving_average"
  momentum: float = fraction(0.9)


@dataclasses.dataclass(frozen=True)
class StochasticRoundingFloat16OptimizerWrapper(Optimizer):
  """Another optimizer whose rows are rounded at random to 16 bit floats.

      w = the 16 bit float below w, or with probability (w - below) / (above - below)
          the one above it

  So w is right on average, however small the steps, and `Fp16Compressor` loses
  nothing. State is not rounded; rows in training still take 32 bits a float, and a
  row that was never updated is not rounded. What is drawn is a hash of the slice, the
  id, the number of the row's updates and the column: independent for every float, and
  the same again for the same updates.

  Source: Gupta, Agrawal, Gopalakrishnan, Narayanan, "Deep Learning with Limited
  Numerical Precision", 2015.

  Args:
    optimizer: the other one, which must not be a wrapper itself.
  """

  type_name: ClassVar[str] = "stochastic_rounding_float16"
  optimizer: Optimizer = AdagradOptimizer()

  def __post_init__(self):
    super().__post_init__()
    if isinstance(self.optimizer, StochasticRoundingFloat16OptimizerWrapper):
      raise ValueError(
        f"{type(self).__name__}.optimizer: got {self.optimizer!r}, wanted an "
        "optimizer that does not wrap another"
      )

  @property
  def depends_on_step(self) -> bool:
    return self.optimizer.depends_on_step

  @property
  def learning_rate(self) -> float:
    """The rate of the wrapped optimizer; 0 if it has none."""
    return getattr(self.optimizer, "learning_rate", 0.0)
