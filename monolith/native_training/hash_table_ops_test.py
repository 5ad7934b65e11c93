import os
import subprocess
import sys

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.hash_table_ops import HashTable

_DAY = 86400
# Every int64 is an id, these too.
_IDS = np.array([0, 1, -1, 2**63 - 1, -(2**63), 12345678901234567], np.int64)


def _rows(ids, dim: int = 4) -> np.ndarray:
  """Rows that differ by id and by position."""
  return (np.arange(len(ids) * dim).reshape(len(ids), dim) + 1).astype(np.float32)


class ReadAndWriteTest(parameterized.TestCase):
  def test_assigned_rows_are_read_back_in_any_order(self):
    table = HashTable("t", 4)
    values = _rows(_IDS)
    table.assign(_IDS, values)
    order = [3, 0, 0, 5, 2]
    np.testing.assert_array_equal(table.lookup(_IDS[order]), values[order])
    self.assertEqual(table.size(), len(_IDS))

  def test_reading_inserts_nothing(self):
    table = HashTable("t", 4)
    table.lookup([1, 2, 3])
    self.assertEqual(table.size(), 0)

  def test_no_ids(self):
    table = HashTable("t", 4)
    self.assertEqual(table.lookup([]).shape, (0, 4))
    table.assign([], np.zeros([0, 4]))
    table.apply_gradients([], np.zeros([0, 4]))
    self.assertEqual(table.erase([]), 0)
    self.assertEqual(table.size(), 0)

  def test_the_last_of_repeated_assignments_counts(self):
    table = HashTable("t", 1)
    table.assign([7, 8, 7], [[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(table.lookup([7, 8]), [[3], [2]])
    table.assign([7], [[4.0]])
    np.testing.assert_array_equal(table.lookup([7]), [[4]])
    self.assertEqual(table.size(), 2)

  def test_assign_add_sums_and_begins_at_the_initial_value(self):
    table = HashTable("t", 2, initializer=entry.ConstantsInitializer(10.0))
    table.assign([1], [[1.0, 2.0]])
    table.assign_add([1, 2, 2], [[0.5, 0.5], [1, 2], [3, 4]])
    np.testing.assert_array_equal(table.lookup([1, 2]), [[1.5, 2.5], [14, 16]])

  def test_erased_rows_read_their_initial_value_again(self):
    table = HashTable("t", 4)
    initial = table.lookup(_IDS).numpy()
    table.assign(_IDS, _rows(_IDS))
    self.assertEqual(table.erase([*_IDS[:2], _IDS[0], 999]), 2)
    self.assertEqual(table.size(), len(_IDS) - 2)
    np.testing.assert_array_equal(table.lookup(_IDS)[:2], initial[:2])
    np.testing.assert_array_equal(table.lookup(_IDS)[2:], _rows(_IDS)[2:])

  def test_a_row_that_comes_back_forgets_its_optimizer_state(self):
    table = HashTable("t", 1, entry.ZerosInitializer())
    table.apply_gradients([1], [[3.0]])
    first = table.lookup([1]).numpy()
    table.erase([1])
    table.apply_gradients([1], [[3.0]])
    np.testing.assert_array_equal(table.lookup([1]), first)

  def test_tables_are_apart_even_with_the_same_name(self):
    one, other = HashTable("t", 2), HashTable("t", 2)
    one.assign([1], [[5.0, 5.0]])
    self.assertEqual((one.size(), other.size()), (1, 0))
    self.assertFalse((other.lookup([1]).numpy() == 5).any())

  def test_any_name_will_do(self):
    for name in ("_t", "a b/c", "\N{SNOWMAN}", 'quote"\\'):
      table = HashTable(name, 1)
      table.assign([1], [[2.0]])
      np.testing.assert_array_equal(table.lookup([1]), [[2]])

  def test_memory_grows_with_rows_and_covers_them(self):
    table = HashTable("t", 32)
    empty = int(table.memory_bytes())
    ids = np.arange(50_000)
    table.assign(ids, np.zeros([len(ids), 32], np.float32))
    # Weights and accumulators, 4 bytes each, and at least the 8 byte id.
    least = len(ids) * (2 * 32 * 4 + 8)
    self.assertBetween(int(table.memory_bytes()) - empty, least - empty, 2 * least)


class InitialValueTest(parameterized.TestCase):
  def test_each_initializer(self):
    ids = np.arange(20_000)
    zeros = HashTable("t", 4, entry.ZerosInitializer()).lookup(ids)
    self.assertTrue((zeros.numpy() == 0).all())
    constants = HashTable("t", 4, entry.ConstantsInitializer(0.25)).lookup(ids)
    self.assertTrue((constants.numpy() == 0.25).all())
    uniform = HashTable("t", 4, entry.RandomUniformInitializer(-2, 1)).lookup(ids)
    self.assertBetween(uniform.numpy().min(), -2, -1.99)
    self.assertBetween(uniform.numpy().max(), 0.99, 1)
    self.assertAlmostEqual(uniform.numpy().mean(), -0.5, delta=0.02)
    normal = HashTable("t", 4, entry.RandomNormalInitializer(3, 0.5)).lookup(ids)
    self.assertAlmostEqual(normal.numpy().mean(), 3, delta=0.01)
    self.assertAlmostEqual(normal.numpy().std(), 0.5, delta=0.01)

  def test_the_default_is_uniform_within_005(self):
    values = HashTable("t", 8).lookup(np.arange(10_000)).numpy()
    self.assertBetween(values.min(), -0.05, -0.0499)
    self.assertBetween(values.max(), 0.0499, 0.05)

  def test_values_depend_on_name_and_id_alone(self):
    ids = np.array([5, -9, 5])
    values = HashTable("t", 4).lookup(ids).numpy()
    np.testing.assert_array_equal(values[0], values[2])
    np.testing.assert_array_equal(HashTable("t", 4).lookup(ids[::-1]), values[::-1])
    self.assertFalse((HashTable("other", 4).lookup(ids).numpy() == values).any())
    self.assertLen(np.unique(values[:2]), 8)

  def test_a_row_begins_with_the_value_that_was_read_before(self):
    table = HashTable("t", 4, optimizer=entry.SgdOptimizer(0.5))
    initial = table.lookup([3]).numpy()
    table.apply_gradients([3], [[1.0, 0.0, 0.0, 2.0]])
    np.testing.assert_allclose(table.lookup([3]), initial - [[0.5, 0, 0, 1.0]], 1e-6)


class EvictTest(absltest.TestCase):
  def test_rows_not_updated_for_expire_time_go(self):
    table = HashTable("t", 1, entry.ZerosInitializer(), expire_time=1.5)
    now = 1_700_000_000
    for id_, age in ((1, 2.0), (2, 1.4), (3, 0.0)):
      table.apply_gradients([id_], [[1.0]], update_time=now - int(age * _DAY))
    self.assertEqual(table.evict(now), 1)
    self.assertEqual(table.size(), 2)
    self.assertEqual(table.lookup([1]).numpy(), 0.0)
    self.assertEqual(table.evict(now + _DAY), 1)
    self.assertEqual(table.evict(now + 3 * _DAY), 1)
    self.assertEqual(table.size(), 0)

  def test_an_update_keeps_a_row(self):
    table = HashTable("t", 1, expire_time=1)
    table.apply_gradients([1], [[1.0]], update_time=1000)
    table.apply_gradients([1], [[1.0]], update_time=1000 + _DAY)
    self.assertEqual(table.evict(1000 + _DAY + 10), 0)

  def test_a_time_may_have_fractions(self):
    table = HashTable("t", 1, expire_time=1 / _DAY)
    now = 1_700_000_043.9
    table.apply_gradients([1], [[1.0]], update_time=now)
    self.assertEqual(table.evict(now + 1), 0)
    self.assertEqual(table.evict(now + 2.5), 1)

  def test_now_is_the_default(self):
    table = HashTable("t", 1, expire_time=1)
    table.assign([1], [[1.0]])
    table.apply_gradients([2], [[1.0]])
    self.assertEqual(table.evict(), 0)
    table.apply_gradients([3], [[1.0]], update_time=1000)
    self.assertEqual(table.evict(), 1)

  def test_rows_live_for_100_years_by_default(self):
    table = HashTable("t", 1)
    table.apply_gradients([1], [[1.0]], update_time=0)
    self.assertEqual(table.evict(), 0)


class GraphTest(absltest.TestCase):
  def test_every_method_in_a_session(self):
    folder = self.create_tempdir().full_path
    with tf.Graph().as_default():
      table = HashTable("t", 2, expire_time=1, optimizer=entry.SgdOptimizer(1.0))
      ids = tf.compat.v1.placeholder(tf.int64, [None])
      values = tf.compat.v1.placeholder(tf.float32, [None, 2])
      rows, size = table.lookup(ids), table.size()
      assign, add = table.assign(ids, values), table.assign_add(ids, values)
      update = table.apply_gradients(ids, values, update_time=1000)
      erase, evict = table.erase(ids), table.evict(1001 + _DAY)
      file = folder + "/rows"
      save, restore = table.save(file, now=1001), table.restore(file)
      memory = table.memory_bytes()
      self.assertEqual(rows.shape.as_list(), [None, 2])
      with tf.compat.v1.Session() as session:
        feed = {ids: [1, 2], values: [[1.0, 2.0], [3.0, 4.0]]}
        session.run(assign, feed)
        session.run(add, feed)
        np.testing.assert_array_equal(session.run(rows, feed), [[2, 4], [6, 8]])
        session.run(update, {ids: [1, 2, 3], values: np.ones([3, 2])})
        np.testing.assert_array_equal(session.run(rows, feed), [[1, 3], [5, 7]])
        self.assertEqual(session.run(erase, {ids: [3]}), 1)
        self.assertEqual(session.run(save), 2)
        self.assertEqual(session.run(evict), 2)
        self.assertEqual(session.run(size), 0)
        self.assertEqual(session.run(restore), 2)
        np.testing.assert_array_equal(session.run(rows, feed), [[1, 3], [5, 7]])
        self.assertGreater(session.run(memory), 0)

  def test_ids_of_unknown_rank_are_checked_when_they_come(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      table = HashTable("t", 2)
      ids = tf.compat.v1.placeholder(tf.int64)
      values = tf.compat.v1.placeholder(tf.float32)
      rows, assign = table.lookup(ids), table.assign(ids, values)
      session.run(assign, {ids: [1, 2], values: [[1.0, 2.0], [3.0, 4.0]]})
      np.testing.assert_array_equal(session.run(rows, {ids: [2]}), [[3, 4]])
      for bad_ids, bad_values in (
        ([1, 2, 3], np.ones([2, 2])),
        ([1], np.ones([2, 2])),
        ([1, 2], np.ones([1, 4])),
        ([[1], [2]], np.ones([2, 2])),
      ):
        with self.assertRaises(tf.errors.InvalidArgumentError):
          session.run(assign, {ids: bad_ids, values: bad_values})

  def test_a_function_works_on_the_eager_table(self):
    table = HashTable("t", 2, optimizer=entry.SgdOptimizer(1.0))

    @tf.function
    def step(ids, gradients):
      before = table.lookup(ids)
      table.apply_gradients(ids, gradients)
      between = table.lookup(ids)
      table.assign_add(ids, gradients)
      return before, between, table.lookup(ids)

    table.assign([1], [[5.0, 6.0]])
    for _ in range(5):
      before, between, after = step(tf.constant([1], tf.int64), tf.ones([1, 2]))
      np.testing.assert_array_equal(before, [[5, 6]])
      np.testing.assert_array_equal(between, [[4, 5]])
      np.testing.assert_array_equal(after, [[5, 6]])
    np.testing.assert_array_equal(table.lookup([1]), [[5, 6]])


class ProcessExitTest(absltest.TestCase):
  def test_a_table_alive_at_exit_makes_no_noise(self):
    program = (
      "from monolith.native_training.hash_table_ops import HashTable\n"
      "table = HashTable('t', 4)\n"
      "table.assign([1], [[1.0, 2.0, 3.0, 4.0]])\n"
      "print(table.size().numpy())"
    )
    path = os.pathsep.join(folder for folder in sys.path if folder)
    result = subprocess.run(
      [sys.executable, "-c", program],
      env={**os.environ, "PYTHONPATH": path},
      capture_output=True,
      text=True,
      check=False,
    )
    self.assertEqual((result.returncode, result.stdout), (0, "1\n"), result.stderr)
    self.assertNotIn("Traceback", result.stderr)
    self.assertNotIn("Exception ignored", result.stderr)


if __name__ == "__main__":
  absltest.main()
