import resource

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data import malloc_thresholds

_BUFFERS = 32
_BYTES = 1 << 20
_PAGES = _BUFFERS * _BYTES // resource.getpagesize()


def _page_faults() -> int:
  """How many pages come from the kernel for buffers as large as those just freed."""
  for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [np.full(_BYTES, 1, np.uint8) for _ in range(_BUFFERS)]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del buffers
  return faults


class MallocThresholdsTest(absltest.TestCase):
  def test_restores_what_a_generator_has_lowered(self):
    spec = tf.TensorSpec([], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=spec)
    self.assertLen(list(dataset), 1)
    # Otherwise this TensorFlow lowers it no more, and nothing has to be restored.
    self.assertGreater(_page_faults(), 0.5 * _PAGES)
    malloc_thresholds.restore()
    self.assertLess(_page_faults(), 0.1 * _PAGES)


if __name__ == "__main__":
  absltest.main()
