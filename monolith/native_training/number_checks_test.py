import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training import number_checks


class NumberChecksTest(parameterized.TestCase):
  @parameterized.parameters(0, -3, 2**70, np.int64(3), np.uint8(3))
  def test_whole_numbers(self, value):
    self.assertTrue(number_checks.is_whole(value))
    self.assertTrue(number_checks.is_finite(value))

  @parameterized.parameters(1.5, 2.0, np.float32(1.5), np.float64(2))
  def test_other_finite_numbers(self, value):
    self.assertFalse(number_checks.is_whole(value))
    self.assertTrue(number_checks.is_finite(value))

  @parameterized.parameters(
    True,
    False,
    np.bool_(True),
    None,
    "1",
    1j,
    float("nan"),
    float("-inf"),
    np.float32("inf"),
    lambda: 1,
  )
  def test_what_is_neither(self, value):
    self.assertFalse(number_checks.is_whole(value))
    self.assertFalse(number_checks.is_finite(value))


if __name__ == "__main__":
  absltest.main()
