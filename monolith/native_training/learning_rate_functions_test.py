import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.embedding import plan
from monolith.native_training.learning_rate_functions import (
  LearningRateFunction,
  PolynomialDecay,
)

_STEPS = [0, 1, 7, 50, 99, 100, 101, 150, 200, 201, 1234, 10**7]


def _segment(rate) -> plan.Segment:
  return plan.Segment(
    "vec",
    4,
    entry.ZerosInitializer(),
    entry.SgdOptimizer(),
    entry.Fp16Compressor(),
    rate,
  )


class PolynomialDecayTest(parameterized.TestCase):
  @parameterized.product(
    power=[1.0, 2.0, 0.5], cycle=[False, True], rates=[(0.1, 0.01), (0.001, 0.5)]
  )
  def test_is_tensorflows(self, power, cycle, rates):
    start, end = rates
    ours = PolynomialDecay(start, 100, end, power, cycle)
    for step in _STEPS:
      wanted = tf.compat.v1.train.polynomial_decay(
        start, tf.constant(step, tf.int64), 100, end, power, cycle
      )
      wanted = wanted() if callable(wanted) else wanted
      got = ours(tf.constant(step, tf.int64))
      self.assertEqual((got.dtype, got.shape), (tf.float32, ()))
      np.testing.assert_allclose(got, wanted, rtol=1e-6, err_msg=f"step {step}")

  def test_works_in_a_graph(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      step = tf.compat.v1.placeholder(tf.int64, [])
      rate = PolynomialDecay(1.0, 10, 0.0)(step)
      self.assertAlmostEqual(session.run(rate, {step: 4}), 0.6, places=6)
      self.assertEqual(session.run(rate, {step: 400}), 0)

  def test_has_tensorflows_defaults(self):
    np.testing.assert_allclose(PolynomialDecay(0.1, 10)(10), 0.0001, 1e-6)

  def test_equal_schedules_are_one(self):
    self.assertIsInstance(PolynomialDecay(0.1, 10), LearningRateFunction)
    self.assertEqual(PolynomialDecay(0.1, 10), PolynomialDecay(0.1, 10))
    self.assertLen({PolynomialDecay(0.1, 10), PolynomialDecay(0.1, 10)}, 1)
    self.assertNotEqual(PolynomialDecay(0.1, 10), PolynomialDecay(0.1, 11))

  def test_slices_agree_by_value(self):
    table = plan.Table("t", 0, 1)
    table.add(_segment(PolynomialDecay(0.1, 10)))
    table.add(_segment(PolynomialDecay(0.1, 10)))
    with self.assertRaisesRegex(ValueError, "learning_rate is PolynomialDecay"):
      table.add(_segment(PolynomialDecay(0.2, 10)))

  @parameterized.parameters(
    (dict(initial_learning_rate=-1), "initial_learning_rate: got -1"),
    (dict(initial_learning_rate=float("nan")), "initial_learning_rate: got nan"),
    (dict(initial_learning_rate="1"), "initial_learning_rate: got '1'"),
    (dict(decay_steps=0), "decay_steps: got 0, wanted a finite number, at least 1"),
    (dict(decay_steps=True), "decay_steps: got True"),
    (dict(end_learning_rate=float("inf")), "end_learning_rate: got inf"),
    (dict(power=0), "power: got 0, wanted a finite number, above 0"),
  )
  def test_what_is_out_of_range_is_refused(self, wrong, message):
    with self.assertRaisesRegex(ValueError, message):
      PolynomialDecay(**{"initial_learning_rate": 0.1, "decay_steps": 10, **wrong})


if __name__ == "__main__":
  absltest.main()
