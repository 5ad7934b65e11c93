"""`HashTable` with an `occurrence_threshold`."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.hash_table_ops import HashTable


def _table(threshold: int, **settings) -> HashTable:
  return HashTable(
    "t",
    1,
    entry.ConstantsInitializer(1.0),
    entry.SgdOptimizer(1.0),
    occurrence_threshold=threshold,
    **settings,
  )


def _train(table: HashTable, *ids: int) -> None:
  table.apply_gradients(list(ids), np.full([len(ids), 1], 0.25))


class AdmissionTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3, 300, 65535)
  def test_the_threshold_th_occurrence_is_the_first_that_trains(self, threshold):
    table = _table(threshold)
    if threshold > 1:
      _train(table, *[7] * (threshold - 1))
    self.assertEqual(table.lookup([7]).numpy(), 0.0)
    self.assertEqual(table.size(), 0)
    _train(table, 7)
    self.assertEqual(table.lookup([7]).numpy(), 0.75)
    self.assertEqual(table.lookup([8]).numpy(), 0.0)

  def test_repeated_ids_count_each_and_all_their_gradients_are_applied(self):
    table = _table(3)
    _train(table, 7, 8, 7)
    _train(table, 7, 8, 7)
    np.testing.assert_array_equal(table.lookup([7, 8]), [[0.5], [0.0]])

  def test_without_a_threshold_rows_begin_at_once(self):
    table = _table(0)
    self.assertEqual(table.lookup([7]).numpy(), 1.0)
    _train(table, 7)
    self.assertEqual(table.lookup([7]).numpy(), 0.75)

  def test_assigning_admits(self):
    table = _table(100)
    table.assign([1], [[5.0]])
    table.assign_add([2], [[5.0]])
    np.testing.assert_array_equal(table.lookup([1, 2]), [[5.0], [6.0]])

  def test_more_ids_than_the_capacity_are_forgotten(self):
    table = _table(2, admission_capacity=1000)
    _train(table, -1)
    bytes_on_trial = table.memory_bytes()
    ids = np.arange(20000)
    table.apply_gradients(ids, np.ones([len(ids), 1]))
    _train(table, -1)
    self.assertEqual(table.lookup([-1]).numpy(), 0.0)
    self.assertLess(table.memory_bytes(), bytes_on_trial + 200_000)

  def test_an_evicted_id_is_on_trial_again(self):
    table = _table(2, expire_time=0.01)
    table.apply_gradients([7, 7], [[1.0]] * 2, update_time=1000)
    self.assertEqual(table.evict(1000 + 0.02 * 86400), 1)
    _train(table, 7)
    self.assertEqual(table.lookup([7]).numpy(), 0.0)

  def test_saved_occurrences_count_on(self):
    table, other = _table(5), _table(5)
    _train(table, 7, 7, 7, 7, 8, 8, 8)
    file = self.create_tempfile().full_path
    self.assertEqual(table.save(file), 0)
    _train(other, 9, 9, 9, 9)
    other.restore(file)
    _train(other, 7, 8, 9)
    np.testing.assert_array_equal(other.lookup([7, 8, 9]), [[0.75], [0.0], [0.0]])

  def test_works_in_a_graph(self):
    with tf.Graph().as_default():
      table = _table(2)
      update = table.apply_gradients([7], [[0.25]])
      row = table.lookup([7])
      with tf.compat.v1.Session() as session:
        for expected in (0.0, 0.75):
          session.run(update)
          self.assertEqual(session.run(row), expected)


if __name__ == "__main__":
  absltest.main()
