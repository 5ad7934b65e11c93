import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError


def cut(value: bytes, begin, end) -> list[bytes]:
  return ops.monolith_cut_bytes(np.frombuffer(value, np.uint8), begin, end).numpy()


class CutBytesTest(tf.test.TestCase, parameterized.TestCase):
  def test_strings_of_any_length_and_bytes(self):
    random = np.random.default_rng(1)
    wanted = [random.bytes(random.integers(0, 60)) for _ in range(1000)] + [b"", b"\0"]
    end = np.cumsum([len(each) for each in wanted])
    begin = end - [len(each) for each in wanted]
    self.assertEqual(cut(b"".join(wanted), begin, end).tolist(), wanted)

  def test_ranges_may_overlap_and_leave_bytes_out(self):
    self.assertEqual(
      cut(b"abcdef", [4, 1, 0], [6, 3, 2]).tolist(), [b"ef", b"bc", b"ab"]
    )

  def test_nothing(self):
    self.assertEqual(cut(b"", [], []).tolist(), [])
    self.assertEqual(cut(b"", [0], [0]).tolist(), [b""])

  @parameterized.parameters((-1, 2), (2, 1), (0, 4), (4, 4), (-(2**63), 2**63 - 1))
  def test_what_is_not_within_the_bytes_is_refused(self, begin, end):
    with self.assertRaisesRegex(
      InvalidArgument, f"string 1 is from {begin} to {end} of 3 bytes"
    ):
      cut(b"abc", [0, begin], [3, end])

  def test_shapes_are_checked(self):
    with self.assertRaisesRegex(InvalidArgument, r"bytes must be a vector .*\[1,1\]"):
      ops.monolith_cut_bytes(np.uint8([[1]]), [0], [1])
    with self.assertRaisesRegex(InvalidArgument, "end has the wrong size: got 2"):
      cut(b"abc", [0], [1, 2])
    with self.assertRaisesRegex(InvalidArgument, "begin"):
      cut(b"abc", 0, [1])

  def test_shapes_are_known_in_the_graph(self):
    with tf.Graph().as_default():
      bytes_ = tf.compat.v1.placeholder(tf.uint8, [None])
      begin = tf.compat.v1.placeholder(tf.int64, [None])
      end = tf.compat.v1.placeholder(tf.int64, [7])
      self.assertEqual(ops.monolith_cut_bytes(bytes_, begin, end).shape, [7])


if __name__ == "__main__":
  tf.test.main()
