"""Thresholds of malloc, which TensorFlow lowers where a dataset has a generator."""

import ctypes
import os

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# The most to which glibc's own adjusting raises them.
_MMAP_BYTES = 32 << 20
_TRIM_BYTES = 2 * _MMAP_BYTES


def raise_again() -> None:
  """Lets malloc keep freed blocks below 32 MiB for the next ones of the process.

  The first op of a `from_generator` has malloc take every block from 128 KiB on from
  the kernel, and give it back, as long as the process lives: against memory that
  fragments with Python 3.11 (TensorFlow's issue 65675). The buffers of a training step
  are of that size, and each step pays for them page by page: two fifths of the CPU time
  of the movie-ranking model in one process (benchmarks/README.md). glibc no longer
  adjusts its thresholds either; this sets them to the most that it would, or to the
  user's own: MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_ in the environment, or
  `glibc.malloc.mmap_threshold` and `trim_threshold` in GLIBC_TUNABLES.

  The price is memory that stays with the process when it is freed, as in any process
  without a generator: up to the second threshold, 64 MiB, at the top of each of
  malloc's arenas, and what lies below blocks that are in use.

  To be called by a generator, which that op always precedes. Does nothing where the C
  library is another than glibc.
  """
  set_threshold = getattr(ctypes.CDLL(None), "mallopt", None)
  if set_threshold:
    set_threshold(_M_MMAP_THRESHOLD, _users_own("mmap_threshold", _MMAP_BYTES))
    set_threshold(_M_TRIM_THRESHOLD, _users_own("trim_threshold", _TRIM_BYTES))


def _users_own(name: str, default: int) -> int:
  """A threshold of the environment's, as glibc understands it."""
  parts = os.environ.get("GLIBC_TUNABLES", "").split(":")
  tunables = dict(part.partition("=")[::2] for part in parts)
  text = os.environ.get(f"MALLOC_{name.upper()}_", "")
  try:
    value = int(tunables.get(f"glibc.malloc.{name}", text), 0)
  except ValueError:
    return default
  return value if 0 <= value < 2**31 else default  # A C int.
