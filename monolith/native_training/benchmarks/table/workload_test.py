"""The data that tables are compared on."""

import unittest

import numpy as np

from monolith.native_training.benchmarks.table.workload import Workload


class WorkloadTest(unittest.TestCase):
  def setUp(self):
    self._workload = Workload(ids=10_000, dim=4, batch=512)

  def test_every_number_has_an_id_of_its_own(self):
    ids = self._workload.id_of(np.arange(10_000))
    self.assertEqual(ids.dtype, np.int64)
    self.assertEqual(len(np.unique(ids)), 10_000)
    self.assertLess(ids.min(), -(2**62))
    self.assertGreater(ids.max(), 2**62)

  def test_fills_with_every_number_once(self):
    batches = self._workload.fill_batches()
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(10_000))
    self.assertEqual({len(b) for b in batches[:-1]}, {512})

  def test_zipf_repeats_ids_and_uniform_hardly_does(self):
    zipf = np.concatenate(self._workload.zipf_batches())
    uniform = np.concatenate(self._workload.uniform_batches())
    for numbers in (zipf, uniform):
      self.assertGreaterEqual(numbers.min(), 0)
      self.assertLess(numbers.max(), 10_000)
    counts = np.sort(np.bincount(zipf))[::-1]
    # Of r^-1.05 the first term is twice the second, to the power of 1.05.
    self.assertAlmostEqual(counts[0] / counts[1], 2**1.05, delta=0.4)
    self.assertLess(np.bincount(uniform).max(), 15)

  def test_adagrad_sums_the_gradients_of_a_row(self):
    numbers = np.array([3, 5, 3])
    gradients = np.array([[0.1], [0.2], [0.3]], np.float32)
    workload = Workload(ids=10, dim=1, batch=3)
    after = workload.rows_after_adagrad(numbers, gradients)
    np.testing.assert_allclose(after[0], after[2])
    step = 0.05 * 0.4 / np.sqrt(0.1 + 0.4**2)
    np.testing.assert_allclose(after[0], workload.row_of(numbers)[0] - step, rtol=1e-6)

  def test_data_depend_on_the_seed_and_nothing_else(self):
    same = Workload(ids=10_000, dim=4, batch=512)
    other = Workload(ids=10_000, dim=4, batch=512, seed=1)
    self.assertEqual(self._workload.fingerprint(), same.fingerprint())
    self.assertNotEqual(self._workload.fingerprint(), other.fingerprint())


if __name__ == "__main__":
  unittest.main()
