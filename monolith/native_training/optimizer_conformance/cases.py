"""The cases of the conformance suite: every optimizer of `entry.py`, every option."""

import dataclasses
import math

import tensorflow as tf

from monolith.native_training import entry
from monolith.native_training.learning_rate_functions import PolynomialDecay
from monolith.native_training.optimizer_conformance import references
from monolith.native_training.optimizer_conformance.case import (
  Case,
  Schedule,
  segment_seed,
  start,
)

_v1, _keras = tf.compat.v1.train, tf.keras.optimizers

_POLYNOMIAL = Schedule(
  "PolynomialDecay(0.1, 150, 0.001, power=2.0)",
  PolynomialDecay(0.1, 150, 0.001, power=2.0),
  lambda step: _v1.polynomial_decay(0.1, step, 150, 0.001, power=2.0)(),
)
_COSINE = Schedule(
  "lambda step: 0.06 + 0.04 * cos(step / 20)",
  lambda step: 0.06 + 0.04 * tf.cos(tf.cast(step, tf.float32) / 20),
  lambda step: 0.06 + 0.04 * math.cos(step / 20),
)


def _tensorflow(optimizer, name, make, weight_decay: float = 0.0) -> Case:
  reference = references.tensorflow_optimizer(make)
  if weight_decay:
    name = f"{name} on g + {weight_decay} w"
    reference = references.with_weight_decay(reference, weight_decay)
  return Case(optimizer, name, reference)


def _on(schedule: Schedule, case: Case) -> Case:
  return dataclasses.replace(case, schedule=schedule)


def _sgd() -> list[Case]:
  case = _tensorflow(
    entry.SgdOptimizer(),
    "tf.compat.v1.train.GradientDescentOptimizer",
    _v1.GradientDescentOptimizer,
  )
  return [case, _on(_POLYNOMIAL, case), _on(_COSINE, case)]


def _adagrad() -> list[Case]:
  def case(accumulator=0.1, weight_decay=0.0, **settings) -> Case:
    return _tensorflow(
      entry.AdagradOptimizer(
        initial_accumulator_value=accumulator,
        weight_decay_factor=weight_decay,
        **settings,
      ),
      "tf.compat.v1.train.AdagradOptimizer",
      lambda rate: _v1.AdagradOptimizer(rate, accumulator),
      weight_decay,
    )

  warm = case(warmup_steps=120)
  full = case(0.3, 0.1, learning_rate=0.2, warmup_steps=120)
  plain = case()
  return [
    plain,
    case(weight_decay=0.1),
    warm,
    full,
    _on(_POLYNOMIAL, full),
    _on(_COSINE, plain),
  ]


def _adagrad_with_group_lasso() -> list[Case]:
  def case(accumulator=0.1, l2=0.5, weight_decay=0.0, **settings) -> Case:
    name = "NumPy, of Duchi et al. 2011 and Yuan, Lin 2006"
    reference = references.group_adagrad(accumulator, l2)
    if weight_decay:
      name = f"{name}, on g + {weight_decay} w"
      reference = references.with_weight_decay(reference, weight_decay)
    optimizer = entry.AdaGradWithGroupLassoOptimizer(
      initial_accumulator_value=accumulator,
      weight_decay_factor=weight_decay,
      l2_regularization=l2,
      **settings,
    )
    return Case(optimizer, name, reference)

  plain = _tensorflow(
    entry.AdaGradWithGroupLassoOptimizer(),
    "tf.compat.v1.train.AdagradOptimizer",
    lambda rate: _v1.AdagradOptimizer(rate, 0.1),
  )
  full = case(0.3, 0.5, 0.1, learning_rate=0.2, warmup_steps=120)
  return [
    plain,
    case(),
    case(weight_decay=0.1),
    case(warmup_steps=120),
    full,
    _on(_POLYNOMIAL, full),
  ]


def _dynamic_wd_adagrad() -> list[Case]:
  def case(accumulator=0.1, weight_decay=0.1, **settings) -> Case:
    return _tensorflow(
      entry.DynamicWdAdagradOptimizer(
        initial_accumulator_value=accumulator,
        weight_decay_factor=weight_decay,
        **settings,
      ),
      f"tf.keras.optimizers.Adagrad(weight_decay={weight_decay}, epsilon=0)",
      lambda rate: _keras.Adagrad(
        rate, accumulator, epsilon=0.0, weight_decay=weight_decay or None
      ),
    )

  full = case(0.3, learning_rate=0.2, warmup_steps=120)
  return [case(), case(warmup_steps=120), full, _on(_POLYNOMIAL, full)]


def _adadelta() -> list[Case]:
  def case(ratio=0.9, epsilon=0.01, **settings) -> Case:
    return _tensorflow(
      entry.AdadeltaOptimizer(averaging_ratio=ratio, epsilon=epsilon, **settings),
      "tf.compat.v1.train.AdadeltaOptimizer",
      lambda rate: _v1.AdadeltaOptimizer(rate, ratio, epsilon),
    )

  full = case(0.95, 0.001, learning_rate=0.2)
  return [case(), full, _on(_POLYNOMIAL, full)]


def _adam() -> list[Case]:
  def case(b1=0.9, b2=0.99, epsilon=0.01, weight_decay=0.0, **settings) -> Case:
    return _tensorflow(
      entry.AdamOptimizer(
        beta1=b1,
        beta2=b2,
        epsilon=epsilon,
        weight_decay_factor=weight_decay,
        **settings,
      ),
      "tf.keras.optimizers.Adam",
      lambda rate: _keras.Adam(rate, b1, b2, epsilon),
      weight_decay,
    )

  def nesterov(b1=0.9, b2=0.99, epsilon=0.01, weight_decay=0.0, **settings) -> Case:
    name = "tf.raw_ops.ResourceApplyAdam(use_nesterov=True)"
    reference = references.nesterov_adam(b1, b2, epsilon)
    if weight_decay:
      name = f"{name} on g + {weight_decay} w"
      reference = references.with_weight_decay(reference, weight_decay)
    optimizer = entry.AdamOptimizer(
      beta1=b1,
      beta2=b2,
      epsilon=epsilon,
      use_nesterov=True,
      weight_decay_factor=weight_decay,
      **settings,
    )
    return Case(optimizer, name, reference)

  full = nesterov(0.8, 0.95, 0.02, 0.1, learning_rate=0.05)
  return [
    case(),
    case(weight_decay=0.1),
    case(0.8, 0.95, 0.02, learning_rate=0.05),
    nesterov(),
    full,
    _on(_POLYNOMIAL, full),
    _on(_COSINE, case()),
  ]


def _amsgrad() -> list[Case]:
  def case(b1=0.9, b2=0.99, epsilon=0.01, weight_decay=0.0, **settings) -> Case:
    return _tensorflow(
      entry.AmsgradOptimizer(
        beta1=b1,
        beta2=b2,
        epsilon=epsilon,
        weight_decay_factor=weight_decay,
        **settings,
      ),
      "tf.keras.optimizers.Adam(amsgrad=True)",
      lambda rate: _keras.Adam(rate, b1, b2, epsilon, amsgrad=True),
      weight_decay,
    )

  full = case(0.8, 0.95, 0.02, 0.1, learning_rate=0.05)
  return [case(), case(weight_decay=0.1), full, _on(_POLYNOMIAL, full)]


def _momentum() -> list[Case]:
  def case(momentum=0.9, nesterov=False, **settings) -> Case:
    name = "tf.compat.v1.train.MomentumOptimizer"
    return _tensorflow(
      entry.MomentumOptimizer(momentum=momentum, use_nesterov=nesterov, **settings),
      f"{name}(use_nesterov=True)" if nesterov else name,
      lambda rate: _v1.MomentumOptimizer(rate, momentum, use_nesterov=nesterov),
    )

  full = case(0.8, nesterov=True, learning_rate=0.05)
  return [case(), case(nesterov=True), full, _on(_POLYNOMIAL, full)]


def _rmsprop() -> list[Case]:
  def case(momentum=0.9, epsilon=1e-7, **settings) -> Case:
    return _tensorflow(
      entry.RmspropOptimizer(momentum=momentum, epsilon=epsilon, **settings),
      f"tf.keras.optimizers.RMSprop(rho={momentum})",
      lambda rate: _keras.RMSprop(rate, rho=momentum, epsilon=epsilon),
    )

  full = case(0.8, 0.001, learning_rate=0.05)
  return [case(), full, _on(_POLYNOMIAL, full)]


def _ftrl() -> list[Case]:
  def case(accumulator=0.1, beta=0.0, l1=0.0, l2=0.0, **settings) -> Case:
    return _tensorflow(
      entry.FtrlOptimizer(
        initial_accumulator_value=accumulator,
        beta=beta,
        l1_regularization=l1,
        l2_regularization=l2,
        **settings,
      ),
      "tf.compat.v1.train.FtrlOptimizer",
      lambda rate: _v1.FtrlOptimizer(
        rate,
        initial_accumulator_value=accumulator,
        beta=beta,
        l1_regularization_strength=l1,
        l2_regularization_strength=l2,
      ),
    )

  full = case(0.2, 1.0, 2.0, 0.5, learning_rate=0.05)
  return [
    case(),
    case(l1=2.0),
    case(l2=0.5),
    full,
    _on(_POLYNOMIAL, full),
  ]


def _ftrl_with_group_sparsity() -> list[Case]:
  plain = _tensorflow(
    entry.FTRLWithGroupSparsityOptimizer(),
    "tf.compat.v1.train.FtrlOptimizer",
    _v1.FtrlOptimizer,
  )
  full = Case(
    entry.FTRLWithGroupSparsityOptimizer(0.05, 0.2, 1.0, 10.0, 0.5),
    "NumPy, of Duchi et al. 2011 and Yuan, Lin 2006",
    references.group_ftrl(0.2, 1.0, 10.0, 0.5),
  )
  return [plain, full, _on(_POLYNOMIAL, full)]


def _moving_average() -> list[Case]:
  return [
    Case(
      entry.MovingAverageOptimizer(momentum),
      "tf.train.ExponentialMovingAverage",
      references.moving_average(momentum),
    )
    for momentum in (0.9, 0.5)
  ]


def _stochastic_rounding() -> list[Case]:
  ids, _ = start()

  def case(optimizer: entry.Optimizer, of: str, reference) -> Case:
    return Case(
      entry.StochasticRoundingFloat16OptimizerWrapper(optimizer),
      f"{of}, rounded as in Gupta et al. 2015 with the core's random bits",
      references.stochastic_rounding(reference, segment_seed(), ids),
    )

  adagrad = case(entry.AdagradOptimizer(), "Adagrad in NumPy", references.adagrad(0.1))
  sgd = case(
    entry.SgdOptimizer(),
    "tf.compat.v1.train.GradientDescentOptimizer",
    references.tensorflow_optimizer(_v1.GradientDescentOptimizer),
  )
  return [adagrad, sgd, _on(_POLYNOMIAL, adagrad)]


CASES: list[Case] = [
  *_sgd(),
  *_adagrad(),
  *_adagrad_with_group_lasso(),
  *_dynamic_wd_adagrad(),
  *_adadelta(),
  *_adam(),
  *_amsgrad(),
  *_momentum(),
  *_rmsprop(),
  *_ftrl(),
  *_ftrl_with_group_sparsity(),
  *_moving_average(),
  *_stochastic_rounding(),
]
