import tensorflow as tf

from monolith.native_training.runtime.ops import core_errors, loader

ops = core_errors.PlainOps(loader.ops())


class FailTest(tf.test.TestCase):
  def test_an_empty_message_is_none(self):
    ops.monolith_fail("")

  def test_it_fails_with_the_message(self):
    with self.assertRaises(tf.errors.InvalidArgumentError) as caught:
      ops.monolith_fail("too many of them")
    self.assertEqual(caught.exception.message, "too many of them")

  def test_it_is_not_dropped_from_the_function_of_a_dataset(self):
    def fail_at_two(i):
      message = tf.where(tf.equal(i, 2), "two is too many", "")
      loader.ops().monolith_fail(message)
      return i

    seen = []
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "two is too many"):
      for i in tf.data.Dataset.range(4).map(fail_at_two):
        seen.append(int(i))
    self.assertEqual(seen, [0, 1])

  def test_more_than_one_message_is_refused(self):
    with self.assertRaisesRegex(Exception, "rank 0|scalar"):
      ops.monolith_fail(["a", "b"])


if __name__ == "__main__":
  tf.test.main()
