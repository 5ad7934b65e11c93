"""What the optimizers of `entry.py` are compared with: TensorFlow's own, or NumPy.

A reference is made for the shape `[rows, dim]` of the weights. A call with weights,
their gradients and a learning rate returns the weights after one step; state is its
own. All compute in 32 bit floats, as the table does, but for the group lasso's minimum.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

Reference = Callable[[np.ndarray, np.ndarray, np.float32], np.ndarray]
MakeReference = Callable[[tuple[int, int]], Reference]

_MASK = 2**64 - 1


def tensorflow_optimizer(optimizer) -> MakeReference:
  """One of `tf.compat.v1.train` or `tf.keras.optimizers`.

  Args:
    optimizer: makes a new one of a learning rate, a scalar variable.
  """

  def make(shape: tuple[int, int]) -> Reference:
    rate_now, variable = tf.Variable(0.0), tf.Variable(tf.zeros(shape))
    made = optimizer(rate_now)
    if isinstance(made, tf.keras.optimizers.Optimizer):
      rate_now = made.learning_rate  # A copy of the variable, made once.

    def step(weights, gradients, rate):
      rate_now.assign(rate)
      variable.assign(weights)
      made.apply_gradients([(tf.constant(gradients), variable)])
      return variable.numpy()

    return step

  return make


def with_weight_decay(reference: MakeReference, factor: float) -> MakeReference:
  """The reference, fed with g + factor * w."""

  def make(shape: tuple[int, int]) -> Reference:
    inner = reference(shape)

    def step(weights, gradients, rate):
      return inner(weights, gradients + np.float32(factor) * weights, rate)

    return step

  return make


def nesterov_adam(beta1: float, beta2: float, epsilon: float) -> MakeReference:
  """`tf.raw_ops.ResourceApplyAdam(use_nesterov=True)`."""

  def make(shape: tuple[int, int]) -> Reference:
    w, m, v = (tf.Variable(tf.zeros(shape)) for _ in range(3))
    steps = 0

    def step(weights, gradients, rate):
      nonlocal steps
      steps += 1
      w.assign(weights)
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

  return make


def moving_average(decay: float) -> MakeReference:
  """`tf.train.ExponentialMovingAverage`."""

  def make(shape: tuple[int, int]) -> Reference:
    average = tf.train.ExponentialMovingAverage(decay)
    fed = tf.Variable(tf.zeros(shape))
    average.apply([fed])

    def step(weights, gradients, rate):
      del rate
      average.average(fed).assign(weights)
      fed.assign(gradients)
      average.apply([fed])
      return average.average(fed).numpy()

    return step

  return make


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


def group_ftrl(accumulator: float, beta: float, l1: float, l2: float) -> MakeReference:
  """FTRL with the group lasso of Yuan and Lin, 2006; see `_group_lasso`."""
  beta, l1, l2 = (float(np.float32(x)) for x in (beta, l1, l2))

  def make(shape: tuple[int, int]) -> Reference:
    z, n = np.zeros(shape, np.float32), np.full(shape, accumulator, np.float32)

    def step(weights, gradients, rate):
      old_root = np.sqrt(n)
      n[:] += gradients * gradients
      z[:] += gradients - (np.sqrt(n) - old_root) / rate * weights
      u, root = z.astype(np.float64), np.sqrt(n.astype(np.float64))
      h = (beta + root) / float(rate) + 2 * l2
      return _group_lasso(u, h, l1 * np.sqrt(shape[1])).astype(np.float32)

    return step

  return make


def group_adagrad(accumulator: float, l2: float) -> MakeReference:
  """Adagrad by composite mirror descent with the group lasso; see `_group_lasso`."""
  l2 = float(np.float32(l2))

  def make(shape: tuple[int, int]) -> Reference:
    n = np.full(shape, accumulator, np.float32)

    def step(weights, gradients, rate):
      n[:] += gradients * gradients
      u = weights - rate * (gradients / np.sqrt(n))
      h = np.sqrt(n.astype(np.float64))
      penalty = float(rate) * l2 * np.sqrt(shape[1])
      return _group_lasso(-h * u, h, penalty).astype(np.float32)

    return step

  return make


def adagrad(accumulator: float) -> MakeReference:
  """Adagrad in NumPy, the same to the last bit as the core's.

  For `stochastic_rounding`, of which a last bit may decide.
  """

  def make(shape: tuple[int, int]) -> Reference:
    n = np.full(shape, accumulator, np.float32)

    def step(weights, gradients, rate):
      n[:] += gradients * gradients
      return weights - rate * (gradients / np.sqrt(n))

    return step

  return make


def _mix(bits: np.ndarray) -> np.ndarray:
  """The last step of MurmurHash3, on uint32."""
  bits = (bits ^ (bits >> np.uint32(16))) * np.uint32(0x85EBCA6B)
  bits = (bits ^ (bits >> np.uint32(13))) * np.uint32(0xC2B2AE35)
  return bits ^ (bits >> np.uint32(16))


def _mix_long(bits: np.ndarray) -> np.ndarray:
  """The mixer of SplitMix64, on uint64."""
  bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return bits ^ (bits >> np.uint64(31))


def _random_bits(
  segment_seed: int, ids: np.ndarray, updates: int, dim: int
) -> np.ndarray:
  """What the core draws for an update of rows: uint32 `[n, dim]`."""
  seed = np.uint64([(segment_seed ^ 0x5851F42D4C957F2D) + 0x8BB84B93962EACC9 & _MASK])
  keys = _mix_long(_mix_long(seed) + ids.astype(np.uint64))
  counter = np.uint64((updates + 1) * 0x9E3779B97F4A7C15 & _MASK)
  words = _mix_long(keys + counter).astype(np.uint32)  # The low halves.
  return _mix(words[:, np.newaxis] + np.arange(dim, dtype=np.uint32))


def stochastic_rounding(
  reference: MakeReference, segment_seed: int, ids: np.ndarray
) -> MakeReference:
  """A reference whose weights are rounded to 16 bit floats after each step.

  Gupta et al., "Deep Learning with Limited Numerical Precision", 2015: to the number
  above with a probability of how far the weight is from the one below. The random
  bits are those that the core draws.

  Args:
    reference: what makes the steps.
    segment_seed: of the table's one segment.
    ids: of the rows, int64 `[rows]`.
  """

  def make(shape: tuple[int, int]) -> Reference:
    inner, updates = reference(shape), 0

    def step(weights, gradients, rate):
      nonlocal updates
      updates += 1
      w = inner(weights, gradients, rate)
      random = _random_bits(segment_seed, ids, updates, shape[1])
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
      rounded = np.copysign(below + np.where(drawn < chance, spacing, 0), w)
      return rounded.astype(np.float32)

    return step

  return make
