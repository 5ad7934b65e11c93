"""Learning rates that change with the global step, for `learning_rate_fn` of a slice.

Any function of the step will do. Those here can also be compared: two slices of one
table with equal schedules agree.

  model.lookup_embedding_slice(
    ['movie'], 'vec', 32, learning_rate_fn=PolynomialDecay(0.05, decay_steps=10_000)
  )
"""

import abc
import dataclasses

import tensorflow as tf

from monolith.native_training.number_checks import is_finite


class LearningRateFunction(abc.ABC):
  """A function of the global step. Subclasses are equal, and hash alike, by value."""

  @abc.abstractmethod
  def __call__(self, global_step: tf.Tensor) -> tf.Tensor:
    """The learning rate.

    Args:
      global_step: int64 scalar, from 0.

    Returns:
      float32 scalar.
    """

  @abc.abstractmethod
  def __eq__(self, other) -> bool: ...

  @abc.abstractmethod
  def __hash__(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class PolynomialDecay(LearningRateFunction):
  """From one rate to another, as `tf.compat.v1.train.polynomial_decay`.

      done = min(step, decay_steps) / decay_steps
      rate = (initial - end) * (1 - done)^power + end

  With `cycle` the decay begins again, and takes longer, whenever it is over: instead of
  the first line

      done = step / (decay_steps * max(1, ceil(step / decay_steps)))

  Args:
    initial_learning_rate: at step 0; at least 0.
    decay_steps: steps until `end_learning_rate`; at least 1.
    end_learning_rate: at least 0.
    power: 1 is a straight line; above 0.
    cycle: whether to begin again.

  Raises:
    ValueError: an argument is out of range.
  """

  initial_learning_rate: float
  decay_steps: int
  end_learning_rate: float = 0.0001
  power: float = 1.0
  cycle: bool = False

  def __post_init__(self):
    for name, fits, wanted in (
      ("initial_learning_rate", _is_number(self.initial_learning_rate), "at least 0"),
      ("decay_steps", _is_number(self.decay_steps, at_least=1), "at least 1"),
      ("end_learning_rate", _is_number(self.end_learning_rate), "at least 0"),
      ("power", _is_number(self.power) and self.power > 0, "above 0"),
    ):
      if not fits:
        raise ValueError(
          f"PolynomialDecay.{name}: got {getattr(self, name)!r}, wanted a finite "
          f"number, {wanted}"
        )

  def __call__(self, global_step: tf.Tensor) -> tf.Tensor:
    step = tf.cast(global_step, tf.float32)
    steps = tf.constant(self.decay_steps, tf.float32)
    if self.cycle:
      steps *= tf.maximum(1.0, tf.math.ceil(step / steps))
    else:
      step = tf.minimum(step, steps)
    initial = tf.constant(self.initial_learning_rate, tf.float32)
    end = tf.constant(self.end_learning_rate, tf.float32)
    return (initial - end) * tf.pow(1 - step / steps, self.power) + end


def _is_number(value, at_least: float = 0) -> bool:
  return is_finite(value) and value >= at_least
