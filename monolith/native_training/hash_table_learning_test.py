import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.hash_table_ops import HashTable


def _adagrad_step(weights, accumulators, gradients, rate):
  """TensorFlow's Adagrad, in place, in float32."""
  accumulators += gradients * gradients
  weights -= np.float32(rate) * gradients / np.sqrt(accumulators)


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
    steps = [
      (rng.integers(0, 50, 70), rng.normal(size=(70, 8)).astype(np.float32))
      for _ in range(10)
    ]
    for some, values in steps:  # 70 of 50 ids: repeated ones among them.
      table.apply_gradients(some, values)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      variable = tf.Variable(start)
      chosen = tf.compat.v1.placeholder(tf.int64, [None])
      gradients = tf.compat.v1.placeholder(tf.float32, [None, 8])
      step = tf.compat.v1.train.AdagradOptimizer(0.05, 0.1).apply_gradients(
        [(tf.IndexedSlices(gradients, chosen, tf.constant([50, 8])), variable)]
      )
      session.run(tf.compat.v1.global_variables_initializer())
      for some, values in steps:
        session.run(step, {chosen: some, gradients: values})
      expected = session.run(variable)
    np.testing.assert_allclose(table.lookup(ids), expected, rtol=1e-5, atol=1e-6)

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


if __name__ == "__main__":
  absltest.main()
