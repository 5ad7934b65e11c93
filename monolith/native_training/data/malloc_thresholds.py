"""Thresholds of malloc, which TensorFlow lowers where a dataset has a generator."""

import ctypes

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# As far as glibc raises the second of itself, and the first with it.
_MMAP_BYTES = 32 << 20
_TRIM_BYTES = 2 * _MMAP_BYTES


def restore() -> None:
  """Lets malloc keep freed blocks below 32 MiB for the next ones of the process.

  The first op of a `from_generator` has malloc take every block from 128 KiB on from
  the kernel, and give it back, as long as the process lives: against memory that
  fragments with Python 3.11 (TensorFlow's issue 65675). The buffers of a training step
  are of that size, and each step pays for them page by page: a tenth of the CPU time of
  the movie-ranking model. The arrays of a stream come and go in a few sizes, and leave
  no fragments.

  To be called by a generator, which that op always precedes. Does nothing where the C
  library is another than glibc.
  """
  set_threshold = getattr(ctypes.CDLL(None), "mallopt", None)
  if set_threshold:
    set_threshold(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    set_threshold(_M_TRIM_THRESHOLD, _TRIM_BYTES)
