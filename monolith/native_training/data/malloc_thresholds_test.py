import os
import resource
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data import malloc_thresholds

_BYTES = 1 << 20
_PAGES = _BYTES // resource.getpagesize()


def _page_faults(num_buffers: int) -> int:
  """How many pages come from the kernel for buffers as large as those just freed."""
  for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [np.full(_BYTES, 1, np.uint8) for _ in range(num_buffers)]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del buffers
  return faults


class MallocThresholdsTest(absltest.TestCase):
  def test_raises_what_a_generator_has_lowered(self):
    # glibc raises them of itself as a large block is freed.
    np.empty(31 << 20, np.uint8)
    self.assertLess(_page_faults(8), 0.1 * 8 * _PAGES)
    spec = tf.TensorSpec([], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=spec)
    self.assertLen(list(dataset), 1)
    # More than it has kept. Where this fails, this TensorFlow lowers them no more.
    self.assertGreater(_page_faults(32), 0.5 * 32 * _PAGES)
    for variable, value in (
      ("MALLOC_MMAP_THRESHOLD_", "0x20000"),
      ("GLIBC_TUNABLES", "glibc.cpu.x=1:glibc.malloc.mmap_threshold=131072"),
    ):
      with mock.patch.dict(os.environ, {variable: value}):
        malloc_thresholds.raise_again()
      self.assertGreater(_page_faults(96), 0.5 * 96 * _PAGES)
    malloc_thresholds.raise_again()
    self.assertLess(_page_faults(32), 0.1 * 32 * _PAGES)


if __name__ == "__main__":
  absltest.main()
