"""Thresholds of malloc, which TensorFlow lowers where a dataset has a generator."""

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# The most to which glibc's own adjusting raises them.
_MMAP_BYTES = 32 << 20
_TRIM_BYTES = 2 * _MMAP_BYTES
# Of glibc's; who sets one of them has chosen.
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def raise_again() -> None:
  """Lets malloc keep freed blocks below 32 MiB for the next ones of the process.

  The first op of a `from_generator` has malloc take every block from 128 KiB on from
  the kernel, and give it back, as long as the process lives: against memory that
  fragments with Python 3.11 (TensorFlow's issue 65675). The buffers of a training step
  are of that size, and each step pays for them page by page: two fifths of the CPU time
  of the movie-ranking model in one process (benchmarks/README.md). glibc no longer
  adjusts its thresholds either; this sets them to the most that it would.

  The price is memory that stays with the process when it is freed: up to 64 MiB in each
  of malloc's arenas. Does nothing where the environment has MALLOC_MMAP_THRESHOLD_ or
  MALLOC_TRIM_THRESHOLD_, or the C library is another than glibc.

  To be called by a generator, which that op always precedes.
  """
  set_threshold = getattr(ctypes.CDLL(None), "mallopt", None)
  if set_threshold is None or any(name in os.environ for name in _VARIABLES):
    return
  set_threshold(_M_MMAP_THRESHOLD, _MMAP_BYTES)
  set_threshold(_M_TRIM_THRESHOLD, _TRIM_BYTES)
