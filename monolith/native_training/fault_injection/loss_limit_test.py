from absl.testing import absltest

from monolith.native_training.fault_injection.loss_limit import loss_limit

_UNDISTURBED = (0.0023, 0.0025, 0.0026, 0.0027, 0.0028, 0.0029, 0.003, 0.0033)


class LossLimitTest(absltest.TestCase):
  def test_it_is_between_other_orders_of_steps_and_what_is_lost(self):
    one_after_the_other = [0.0006]
    for losses in (
      _UNDISTURBED,
      _UNDISTURBED[:1],
      _UNDISTURBED[-1:],
      one_after_the_other,
    ):
      self.assertBetween(loss_limit(losses), 0.0049, 0.01)

  def test_enough_rounds_tell_their_own_deviation(self):
    self.assertAlmostEqual(loss_limit([0.5] * 8), 0.5)
    self.assertGreater(loss_limit([0.5] * 7), 0.6)


if __name__ == "__main__":
  absltest.main()
