"""Errors by bucket whose answer is known."""

import unittest

import numpy as np

from monolith.native_training.benchmarks import windowed_errors


class WindowedErrorsTest(unittest.TestCase):
  def test_each_bucket_has_its_own_ratings(self):
    squared = np.array([np.nan, 100, 1, 1, 9, 9, 0, 8], np.float32)
    rmse, edges = windowed_errors.rmse_by_bucket(squared, 2, 3)
    self.assertEqual(edges.tolist(), [2, 4, 6, 8])
    self.assertEqual(rmse.tolist(), [1, 3, 2])

  def test_buckets_that_do_not_divide_the_ratings_leave_none_out(self):
    rmse, edges = windowed_errors.rmse_by_bucket(np.arange(10.0), 0, 3)
    self.assertEqual((edges[0], edges[-1]), (0, 10))
    total = np.sum(np.square(rmse) * np.diff(edges))
    self.assertAlmostEqual(total, 45)

  def test_what_was_not_predicted_is_refused(self):
    with self.assertRaisesRegex(ValueError, "predicted"):
      windowed_errors.rmse_by_bucket(np.array([1, np.nan, 1]), 0, 1)
    with self.assertRaisesRegex(ValueError, "do not fill"):
      windowed_errors.rmse_by_bucket(np.ones(3), 2, 2)

  def test_table_has_means_and_spreads_of_seeds(self):
    rows = {"a": [np.array([1.0, 3.0]), np.array([2.0, 3.0])], "b": [np.ones(2)]}
    lines = windowed_errors.table(rows, np.array([0, 10, 20]))
    self.assertEqual(lines[0], ["ratings", "a", "b"])
    self.assertEqual(lines[1], ["0 - 10", "1.500 ± 0.500", "1.000"])
    self.assertEqual(lines[2], ["10 - 20", "3.000 ± 0.000", "1.000"])
    # Of all ratings: the roots of (1 + 9) / 2 and (4 + 9) / 2.
    self.assertEqual(lines[3][1], "2.393 ± 0.157")


if __name__ == "__main__":
  unittest.main()
