"""How often malloc asks the kernel for memory, for tests."""

import resource

import numpy as np

_BYTES = 1 << 20
_PAGES = _BYTES // resource.getpagesize()


def share_of_pages(num_buffers: int) -> float:
  """Of buffers of 1 MiB, as large as those just freed, how much comes from the kernel.

  Args:
    num_buffers: how many there are at once.

  Returns:
    Page faults for each of their pages: about 0 to 1.
  """
  for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    buffers = [np.full(_BYTES, 1, np.uint8) for _ in range(num_buffers)]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del buffers
  return faults / (num_buffers * _PAGES)
