"""What the optimizers of `entry.py` are compared with: TensorFlow's own, or NumPy.

A reference is made of the weights `[rows, dim]` that training begins with, and called
with the gradients `[rows, dim]` of one step; it returns the weights after that step.
All compute in 32 bit floats, as the table does, the group lasso's minimum excepted.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

Reference = Callable[[np.ndarray], np.ndarray]


def tensorflow_optimizer(optimizer) -> Callable[[np.ndarray], Reference]:
  """One of `tf.compat.v1.train` or `tf.keras.optimizers`.

  Args:
    optimizer: makes a new one.
  """

  def start(weights: np.ndarray) -> Reference:
    made, variable = optimizer(), tf.Variable(weights)

    def step(gradients: np.ndarray) -> np.ndarray:
      made.apply_gradients([(tf.constant(gradients), variable)])
      return variable.numpy()

    return step

  return start


def with_weight_decay(
  reference: Callable[[np.ndarray], Reference], factor: float
) -> Callable[[np.ndarray], Reference]:
  """The reference, fed with g + factor * w."""

  def start(weights: np.ndarray) -> Reference:
    inner, now = reference(weights), weights.copy()

    def step(gradients: np.ndarray) -> np.ndarray:
      now[:] = inner(gradients + np.float32(factor) * now)
      return now.copy()

    return step

  return start


def nesterov_adam(rate: float, beta1: float, beta2: float, epsilon: float):
  """`tf.raw_ops.ResourceApplyAdam(use_nesterov=True)`."""

  def start(weights: np.ndarray) -> Reference:
    w = tf.Variable(weights)
    m, v = (tf.Variable(tf.zeros_like(w)) for _ in range(2))
    steps = 0

    def step(gradients: np.ndarray) -> np.ndarray:
      nonlocal steps
      steps += 1
      tf.raw_ops.ResourceApplyAdam(
        var=w.handle,
        m=m.handle,
        v=v.handle,
        beta1_power=np.float32(beta1**steps),
        beta2_power=np.float32(beta2**steps),
        lr=rate,
        beta1=beta1,
        beta2=beta2,
        epsilon=epsilon,
        grad=gradients,
        use_nesterov=True,
      )
      return w.numpy()

    return step

  return start


def moving_average(decay: float):
  """`tf.train.ExponentialMovingAverage`."""

  def start(weights: np.ndarray) -> Reference:
    average, fed = tf.train.ExponentialMovingAverage(decay), tf.Variable(weights)
    average.apply([fed])

    def step(gradients: np.ndarray) -> np.ndarray:
      fed.assign(gradients)
      average.apply([fed])
      return average.average(fed).numpy()

    return step

  return start


def _group_lasso(linear: np.ndarray, quadratic: np.ndarray, penalty: float):
  """argmin <u, x> + <x, H x> / 2 + penalty * ||x|| of each row, by bisection.

  Section 5 of Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011.
  """
  solution = np.zeros_like(linear)
  for x, u, h in zip(solution, linear, quadratic, strict=True):
    if np.linalg.norm(u) <= penalty:
      continue
    low, high = 0.0, np.linalg.norm(u / h)  # of the norm
    for _ in range(200):
      norm = (low + high) / 2
      too_low = np.linalg.norm(u / (h * norm + penalty)) > 1
      low, high = (norm, high) if too_low else (low, norm)
    x[:] = -u / (h + penalty / high)
  return solution


def group_ftrl(rate, accumulator, beta, l1, l2):
  """FTRL with the group lasso of Yuan and Lin, 2006; see `_group_lasso`."""
  rate, beta, l1, l2 = (np.float32(x) for x in (rate, beta, l1, l2))

  def start(weights: np.ndarray) -> Reference:
    w, z = weights.copy(), np.zeros_like(weights)
    n = np.full_like(weights, accumulator)

    def step(gradients: np.ndarray) -> np.ndarray:
      old_root = np.sqrt(n)
      n[:] += gradients * gradients
      z[:] += gradients - (np.sqrt(n) - old_root) / rate * w
      u, root = z.astype(np.float64), np.sqrt(n.astype(np.float64))
      h = (float(beta) + root) / float(rate) + 2 * float(l2)
      w[:] = _group_lasso(u, h, float(l1) * np.sqrt(w.shape[1]))
      return w.copy()

    return step

  return start


def group_adagrad(rate, accumulator, l2):
  """Adagrad by composite mirror descent with the group lasso; see `_group_lasso`."""
  rate, l2 = np.float32(rate), np.float32(l2)

  def start(weights: np.ndarray) -> Reference:
    w, n = weights.copy(), np.full_like(weights, accumulator)

    def step(gradients: np.ndarray) -> np.ndarray:
      n[:] += gradients * gradients
      u = w - rate * (gradients / np.sqrt(n))
      h = np.sqrt(n.astype(np.float64))
      w[:] = _group_lasso(-h * u, h, float(rate) * float(l2) * np.sqrt(w.shape[1]))
      return w.copy()

    return step

  return start


def _mix(bits: np.ndarray) -> np.ndarray:
  """The last step of MurmurHash3, on uint32."""
  bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B)
  bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
  return bits ^ (bits >> np.uint32(16))


def stochastic_rounding(reference, updates_per_step: int = 1):
  """A reference whose weights are rounded to 16 bit floats after each step.

  Gupta et al., "Deep Learning with Limited Numerical Precision", 2015: to the number
  above with a probability of how far the weight is from the one below. The random
  bits are those that the core draws.
  """

  def start(weights: np.ndarray) -> Reference:
    variable = weights.copy()
    inner = reference(variable)  # Steps on `variable` itself.
    updates = 0

    def step(gradients: np.ndarray) -> np.ndarray:
      nonlocal updates
      updates += updates_per_step
      w = inner(gradients)
      positions = np.arange(w.shape[1], dtype=np.uint32)
      seeds = _mix(_mix(np.uint32([updates])) + positions)
      random = _mix(w.view(np.uint32) ^ seeds)
      below = w.astype(np.float64)
      spacing = np.ldexp(1.0, np.maximum(np.frexp(below)[1] - 1, -14) - 10)
      below = np.floor(np.abs(below) / spacing) * spacing
      chance = (np.abs(w.astype(np.float64)) - below) / spacing
      # In normal numbers the core adds the 13 lowest bits, and sees the carry.
      is_normal = np.abs(w) >= 2.0**-14
      drawn = np.where(
        is_normal,
        1 - ((random & np.uint32(0x1FFF)) + 1.0) / 2**13,
        (random >> np.uint32(8)) / 2**24,
      )
      variable[:] = np.copysign(below + np.where(drawn < chance, spacing, 0), w)
      return variable.copy()

    return step

  return start


def adagrad_in_place(rate: float, accumulator: float):
  """NumPy's Adagrad on the very array it is given, for `stochastic_rounding`."""
  rate = np.float32(rate)

  def start(weights: np.ndarray) -> Reference:
    n = np.full_like(weights, accumulator)

    def step(gradients: np.ndarray) -> np.ndarray:
      n[:] += gradients * gradients
      weights[:] -= rate * (gradients / np.sqrt(n))
      return weights

    return step

  return start
