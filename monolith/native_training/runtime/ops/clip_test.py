import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError


def clip(gradients, clip_norm, names=None):
  return ops.monolith_clip_by_global_norm(
    [np.asarray(g, np.float32) for g in gradients],
    names=names or [f"v{i}" for i in range(len(gradients))],
    clip_norm=clip_norm,
  )


class ClipTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.parameters(1e-3, 1.0, 50.0, 1e6)
  def test_equals_tensorflows(self, clip_norm):
    random = np.random.default_rng(3)
    shapes = ([], [7], [0], [30, 20], [2, 3, 4], [100_000])
    gradients = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    wanted, _ = tf.clip_by_global_norm(gradients, clip_norm)
    for got, want in zip(clip(gradients, clip_norm), wanted, strict=True):
      self.assertAllClose(got, want, rtol=1e-6, atol=0)

  @parameterized.parameters(0.0, 5.0, 1000.0)
  def test_what_is_within_the_norm_stays_bit_for_bit(self, clip_norm):
    self.assertAllEqual(tf.concat(clip([[3.0], [4.0]], clip_norm), 0), [3, 4])

  def test_gradients_whose_squares_overflow_are_clipped(self):
    a, b = clip([[3e30], [[4e30]]], 1.0)
    self.assertAllClose(a, [0.6], rtol=1e-6)
    self.assertAllClose(b, [[0.8]], rtol=1e-6)

  def test_gradients_whose_squares_overflow_pass_without_clipping(self):
    self.assertAllEqual(clip([[3e38, -3e38]], 0.0)[0], np.float32([3e38, -3e38]))

  def test_inputs_that_others_read_stay_as_they_are(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      gradient = tf.random.stateless_uniform([1000], [1, 2])
      clipped = ops.monolith_clip_by_global_norm([gradient], names=["v"], clip_norm=1.0)
      before, after = session.run([gradient, clipped[0]])
    self.assertGreater(np.linalg.norm(before), 10)
    self.assertAllClose(after, before / np.linalg.norm(before), rtol=1e-5)

  @parameterized.parameters("nan", "inf", "-inf")
  def test_what_is_not_finite_is_rejected_by_name(self, bad):
    bad = float(bad)
    for clip_norm in (0.0, 1.0):
      with self.assertRaisesRegex(
        InvalidArgument,
        r"not finite of bias \(.*\), kernel \(.*\); nothing was updated",
      ):
        clip([[1.0], [1.0, bad], [[bad]]], clip_norm, names=["embed", "bias", "kernel"])

  @parameterized.parameters(-1.0, float("nan"), float("inf"))
  def test_a_bad_norm_is_refused(self, clip_norm):
    with self.assertRaisesRegex(InvalidArgument, "clip_norm must be finite and 0 or"):
      clip([[1.0]], clip_norm)

  def test_a_missing_name_is_refused(self):
    with self.assertRaisesRegex(InvalidArgument, "names has the wrong size: got 1"):
      clip([[1.0], [2.0]], 1.0, names=["a"])

  def test_shapes_are_known_in_the_graph(self):
    with tf.Graph().as_default():
      inputs = [tf.compat.v1.placeholder(tf.float32, s) for s in ([2, None], None)]
      a, b = ops.monolith_clip_by_global_norm(inputs, names=["a", "b"], clip_norm=1.0)
      self.assertEqual(a.shape.as_list(), [2, None])
      self.assertIsNone(b.shape.rank)


if __name__ == "__main__":
  tf.test.main()
