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


def _adagrad_step(weights, accumulators, gradients, rate):
  """TensorFlow's Adagrad, in place, in float32."""
  accumulators += gradients * gradients
  weights -= np.float32(rate) * gradients / np.sqrt(accumulators)


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


class ApplyGradientsTest(parameterized.TestCase):
  def test_sgd(self):
    table = HashTable("t", 2, optimizer=entry.SgdOptimizer(0.5))
    table.assign([1, 2], [[1.0, 2.0], [3.0, 4.0]])
    table.apply_gradients([2, 1], [[1.0, 1.0], [2.0, 0.0]])
    np.testing.assert_allclose(table.lookup([1, 2]), [[0, 2], [2.5, 3.5]], 1e-6)

  def test_adagrad_like_tensorflows_over_several_steps(self):
    rng = np.random.default_rng(1)
    ids = np.arange(50)
    start = rng.normal(size=(50, 8)).astype(np.float32)
    table = HashTable("t", 8)
    table.assign(ids, start)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      variable = tf.Variable(start)
      chosen = tf.compat.v1.placeholder(tf.int64, [None])
      gradients = tf.compat.v1.placeholder(tf.float32, [None, 8])
      step = tf.compat.v1.train.AdagradOptimizer(0.05, 0.1).apply_gradients(
        [(tf.IndexedSlices(gradients, chosen, tf.constant([50, 8])), variable)]
      )
      session.run(tf.compat.v1.global_variables_initializer())
      for _ in range(10):
        some = rng.integers(0, 50, 70)  # Repeated ones among them.
        values = rng.normal(size=(70, 8)).astype(np.float32)
        session.run(step, {chosen: some, gradients: values})
        table.apply_gradients(some, values)
      np.testing.assert_allclose(
        table.lookup(ids), session.run(variable), rtol=1e-5, atol=1e-6
      )

  def test_gradients_of_a_repeated_id_are_one_update(self):
    once, split = HashTable("t", 2), HashTable("t", 2)
    once.apply_gradients([1], [[3.0, 1.0]])
    split.apply_gradients([1, 1], [[1.0, 1.5], [2.0, -0.5]])
    np.testing.assert_allclose(split.lookup([1]), once.lookup([1]), 1e-6)

  @parameterized.parameters(2.0, np.float32(2.0))
  def test_a_rate_given_replaces_the_optimizers(self, rate):
    table = HashTable("t", 1, entry.ZerosInitializer(), entry.SgdOptimizer(0.1))
    table.apply_gradients([1], [[1.0]])
    np.testing.assert_allclose(table.lookup([1]), [[-0.1]], 1e-6)
    table.apply_gradients([1], [[1.0]], learning_rate=rate)
    np.testing.assert_allclose(table.lookup([1]), [[-2.1]], 1e-6)
    table.apply_gradients([1], [[1.0]], learning_rate=tf.constant(0.0))
    np.testing.assert_allclose(table.lookup([1]), [[-2.1]], 1e-6)

  def test_weight_decay(self):
    decay = entry.AdagradOptimizer(1.0, 0.5, weight_decay_factor=0.1)
    table = HashTable("t", 1, optimizer=decay)
    table.assign([1], [[2.0]])
    table.apply_gradients([1], [[1.0]])
    gradient = 1.0 + 0.1 * 2.0
    expected = 2.0 - gradient / np.sqrt(0.5 + gradient**2)
    np.testing.assert_allclose(table.lookup([1]), [[expected]], 1e-6)

  def test_warm_up_follows_the_global_step(self):
    table = HashTable(
      "t", 1, entry.ZerosInitializer(), entry.AdagradOptimizer(1.0, 1e-8, 0, 10)
    )
    for id_, step in ((1, 0), (2, 4), (3, 9), (4, 1000)):
      table.apply_gradients([id_], [[1.0]], global_step=step)
    np.testing.assert_allclose(
      table.lookup([1, 2, 3, 4]), [[-0.1], [-0.5], [-1.0], [-1.0]], 1e-5
    )

  @parameterized.parameters(np.nan, np.inf, -np.inf)
  def test_a_gradient_that_is_not_finite_changes_nothing(self, bad):
    table = HashTable("prices", 2)
    table.assign([1, 77], np.ones([2, 2]))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "prices.*77"):
      table.apply_gradients([1, 77, 5], [[1.0, 1.0], [1.0, bad], [1.0, 1.0]])
    np.testing.assert_array_equal(table.lookup([1, 77]), np.ones([2, 2]))
    self.assertEqual(table.size(), 2)

  def test_a_million_rows_equal_numpys_adagrad(self):
    n, dim, rate = 1_000_000, 32, 0.05
    rng = np.random.default_rng(42)
    ids = rng.permutation(n).astype(np.int64) * 9_223_372_036_853 - 2**62
    weights = rng.normal(size=(n, dim)).astype(np.float32)
    table = HashTable("million", dim, optimizer=entry.AdagradOptimizer(rate, 0.1))
    table.assign(ids, weights)
    self.assertEqual(table.size(), n)
    np.testing.assert_array_equal(table.lookup(ids), weights)

    accumulators = np.full([n, dim], np.float32(0.1))
    for _ in range(2):
      gradients = rng.normal(size=(n, dim)).astype(np.float32)
      order = rng.permutation(n)
      table.apply_gradients(ids[order], gradients[order])
      _adagrad_step(weights, accumulators, gradients, rate)
    # Where a step leads to almost 0, its own rounding is more than the result's.
    np.testing.assert_allclose(table.lookup(ids), weights, rtol=1e-6, atol=2e-8)
    self.assertEqual(table.size(), n)


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


class SaveAndRestoreTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._file = os.path.join(self.create_tempdir().full_path, "rows")

  def test_rows_and_optimizer_state_come_back(self):
    table = HashTable("t", 4)
    ids = np.concatenate([_IDS, np.arange(100, 5000)])
    gradients = _rows(ids) / 1000
    table.apply_gradients(ids, gradients)
    self.assertEqual(table.save(self._file), len(ids))

    other = HashTable("t", 4)
    other.assign([50], _rows([50]))
    self.assertEqual(other.restore(self._file), len(ids))
    self.assertEqual(other.size(), len(ids))
    np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))
    for each in (table, other):
      each.apply_gradients(ids, gradients)
    np.testing.assert_array_equal(other.lookup(ids), table.lookup(ids))

  def test_update_times_come_back(self):
    table = HashTable("t", 1, expire_time=1)
    table.apply_gradients([1], [[1.0]], update_time=1000)
    table.apply_gradients([2], [[1.0]], update_time=1000 + _DAY)
    table.save(self._file)
    other = HashTable("t", 1, expire_time=1)
    other.restore(self._file)
    self.assertEqual(other.evict(1000 + _DAY + 10), 1)
    self.assertEqual(other.erase([2]), 1)

  def test_an_empty_table(self):
    self.assertEqual(HashTable("t", 4).save(self._file), 0)
    table = HashTable("t", 4)
    table.assign([1], _rows([1]))
    self.assertEqual(table.restore(self._file), 0)
    self.assertEqual(table.size(), 0)

  def test_only_the_file_asked_for_is_written(self):
    HashTable("t", 4).save(self._file)
    self.assertEqual(os.listdir(os.path.dirname(self._file)), ["rows"])

  def test_another_width_is_refused_and_nothing_lost(self):
    HashTable("t", 4).save(self._file)
    table = HashTable("t", 8)
    table.assign([1], _rows([1], 8))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "t.*embedding"):
      table.restore(self._file)
    np.testing.assert_array_equal(table.lookup([1]), _rows([1], 8))

  def test_a_missing_file_is_named(self):
    with self.assertRaisesRegex(tf.errors.OpError, "rows"):
      HashTable("t", 4).restore(self._file)

  def test_a_damaged_file_is_refused_by_name(self):
    table = HashTable("t", 4)
    table.assign(_IDS, _rows(_IDS))
    table.save(self._file)
    with open(self._file, "rb") as file:
      good = file.read()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for content in (good[: len(good) // 2], good[:-1], bytes(flipped), b""):
      with open(self._file, "wb") as file:
        file.write(content)
      with self.assertRaisesRegex(tf.errors.DataLossError, "rows"):
        HashTable("t", 4).restore(self._file)


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
      save, restore = table.save(folder + "/rows"), table.restore(folder + "/rows")
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
      return before, table.lookup(ids)

    table.assign([1], [[5.0, 6.0]])
    before, after = step(tf.constant([1], tf.int64), tf.ones([1, 2]))
    np.testing.assert_array_equal(before, [[5, 6]])
    np.testing.assert_array_equal(after, [[4, 5]])
    np.testing.assert_array_equal(table.lookup([1]), [[4, 5]])


class BadArgumentTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda: HashTable("t", 0), "dim: got 0"),
    (lambda: HashTable("t", 2.5), "dim: got 2.5"),
    (lambda: HashTable("", 4), "name: got ''"),
    (lambda: HashTable("t", 4, expire_time=0), "'t': got expire_time 0"),
    (lambda: HashTable("t", 4, expire_time=float("nan")), "'t': got expire_time nan"),
    (lambda: HashTable("t", 4, occurrence_threshold=-1), "got occurrence_threshold -1"),
    (
      lambda: HashTable("t", 4, occurrence_threshold=65536),
      "got occurrence_threshold 65536",
    ),
    (lambda: HashTable("t", 4, initializer="zeros"), "got initializer 'zeros'"),
    (lambda: HashTable("t", 4, optimizer="sgd"), "got optimizer 'sgd'"),
    (
      lambda: HashTable("t", 4, optimizer=entry.ZerosInitializer()),
      "got optimizer ZerosInitializer",
    ),
  )
  def test_of_the_table(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make()

  @parameterized.parameters(
    (lambda t: t.lookup(np.array([1], np.int32)), "ids: got int32, wanted int64"),
    (lambda t: t.lookup(tf.constant([1.0])), "ids: got float32, wanted int64"),
    (lambda t: t.lookup([[1], [2]]), r"ids: got shape \(2, 1\), wanted \[n\]"),
    (lambda t: t.lookup(1), r"ids: got shape \(\), wanted \[n\]"),
    (lambda t: t.assign([1], [[1.0]]), r"values: got shape \(1, 1\), wanted \(1, 4\)"),
    (lambda t: t.assign([1], np.ones(4)), r"values: got shape \(4,\), wanted \(1, 4\)"),
    (lambda t: t.assign_add([1], np.ones([2, 4])), r"values: got shape \(2, 4\)"),
    (lambda t: t.apply_gradients([1], np.ones([1, 5])), r"grads: got shape \(1, 5\)"),
    (lambda t: t.erase(np.array([1.5])), "ids: got float64"),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=[0.1, 0.2]),
      r"learning_rate: got shape \(2,\), wanted one number",
    ),
  )
  def test_of_a_call(self, call, message):
    table = HashTable("t", 4)
    with self.assertRaisesRegex(ValueError, message):
      call(table)
    self.assertEqual(table.size(), 0)

  @parameterized.parameters(
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=np.nan), "nan"),
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time=-1), "-1"),
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time=2**33), "858993"),
    (lambda t: t.evict(-1), "-1"),
  )
  def test_numbers_out_of_range(self, call, message):
    table = HashTable("t", 4)
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
      call(table)
    self.assertEqual(table.size(), 0)

  def test_what_the_core_does_not_know_is_named(self):
    with self.assertRaisesRegex(tf.errors.OpError, "ftrl"):
      HashTable("t", 4, optimizer=entry.FtrlOptimizer()).lookup([1])
    with self.assertRaisesRegex(tf.errors.OpError, "occurrence_threshold"):
      HashTable("t", 4, occurrence_threshold=2).lookup([1])


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
