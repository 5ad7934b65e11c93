import ctypes

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data import malloc_thresholds

_BLOCKS = 16
_BYTES = 1 << 20


class _MallocInfo(ctypes.Structure):
  """What `mallinfo2` returns."""

  _fields_ = [
    (name, ctypes.c_size_t)
    for name in (
      *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
      *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
    )
  ]


def _blocks_from_the_kernel() -> int:
  """How many of a few blocks of 1 MiB malloc takes from the kernel, each by itself."""
  libc = ctypes.CDLL(None)
  libc.mallinfo2.restype = _MallocInfo
  libc.malloc.restype = ctypes.c_void_p
  before = libc.mallinfo2().hblks
  blocks = [libc.malloc(ctypes.c_size_t(_BYTES)) for _ in range(_BLOCKS)]
  taken = libc.mallinfo2().hblks - before
  for block in blocks:
    libc.free(ctypes.c_void_p(block))
  return taken


class MallocThresholdsTest(absltest.TestCase):
  def test_restores_what_a_generator_has_lowered(self):
    spec = tf.TensorSpec([], tf.int32)
    dataset = tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=spec)
    self.assertLen(list(dataset), 1)
    # Otherwise this TensorFlow lowers it no more, and nothing has to be restored.
    self.assertGreater(_blocks_from_the_kernel(), _BLOCKS // 2)
    malloc_thresholds.restore()
    self.assertEqual(_blocks_from_the_kernel(), 0)


if __name__ == "__main__":
  absltest.main()
