import os
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data import malloc_thresholds
from monolith.native_training.data.page_faults import share_of_pages


class MallocThresholdsTest(absltest.TestCase):
  def test_raises_what_a_generator_has_lowered(self):
    # glibc raises them of itself as a large block is freed.
    np.empty(31 << 20, np.uint8)
    self.assertLess(share_of_pages(8), 0.1)
    spec = tf.TensorSpec([], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=spec)
    self.assertLen(list(dataset), 1)
    # More than it has kept. Where this fails, this TensorFlow lowers them no more.
    self.assertGreater(share_of_pages(32), 0.5)
    for variable, value in (
      ("MALLOC_MMAP_THRESHOLD_", "0x20000"),
      ("GLIBC_TUNABLES", "glibc.cpu.x=1:glibc.malloc.mmap_threshold=131072"),
    ):
      with mock.patch.dict(os.environ, {variable: value}):
        malloc_thresholds.raise_again()
      self.assertGreater(share_of_pages(96), 0.5)
    malloc_thresholds.raise_again()
    self.assertLess(share_of_pages(32), 0.1)


if __name__ == "__main__":
  absltest.main()
