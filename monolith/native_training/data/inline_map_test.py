from typing import NamedTuple

import numpy as np
import tensorflow as tf

from monolith.native_training.data.inline_map import map_inline


class Sum(NamedTuple):
  names: tf.Tensor
  total: tf.Tensor


class InlineMapTest(tf.test.TestCase):
  def test_does_what_map_does(self):
    pairs = tf.data.Dataset.from_tensor_slices((np.arange(6), ["a"] * 6)).batch(4)
    more = tf.constant(np.int64(100))  # From outside of the function.

    def add(numbers, names):
      return Sum(names, tf.reduce_sum(numbers) + more)

    inline = map_inline(pairs, add)
    wanted = pairs.map(add)
    self.assertEqual(inline.element_spec, wanted.element_spec)
    for got, want in zip(inline, wanted, strict=True):
      self.assertIsInstance(got, Sum)
      self.assertAllEqual(got.names, want.names)
      self.assertEqual(got.total, want.total)

  def test_works_in_graphs_and_in_functions_of_datasets(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      lengths = tf.data.Dataset.range(4).flat_map(
        lambda n: map_inline(tf.data.Dataset.range(n), lambda i: 10 * n + i)
      )
      iterator = tf.compat.v1.data.make_one_shot_iterator(lengths)
      element = iterator.get_next()
      got = [session.run(element) for _ in range(6)]
    self.assertEqual(got, [10, 20, 21, 30, 31, 32])

  def test_errors_of_ops_pass(self):
    numbers = tf.data.Dataset.from_tensors(["1", "x"])
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "x"):
      list(map_inline(numbers, tf.strings.to_number))


if __name__ == "__main__":
  tf.test.main()
