"""Which signatures give one row for each example, as far as their runs have shown.

Only such can run several requests as one. What others give cannot be told apart, also
where by chance it has as many rows as there are examples; so one run that has not
settles it.

Any number of threads may use it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from absl import logging

from monolith.serving.servable.signature import Signature, batch_size


class RowRecord:
  """What the runs of a version have shown.

  Args:
    version: what it is called in the log.
  """

  def __init__(self, version: str):
    self._version = version
    self._lock = threading.Lock()
    self._by_example: dict[str, bool] = {}

  def by_example(self, signature: Signature) -> bool | None:
    """Whether all outputs had one row for each example so far; None before any run."""
    return self._by_example.get(signature.name)

  def add(
    self,
    signature: Signature,
    feeds: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
  ) -> None:
    """Looks at a run, and says once which output is another than it should be."""
    if not signature.is_batch or self.by_example(signature) is False:
      return
    size = batch_size(feeds)
    odd = [name for name, value in outputs.items() if value.shape[:1] != (size,)]
    with self._lock:
      if not odd:
        self._by_example.setdefault(signature.name, True)
      elif self._by_example.get(signature.name) is not False:
        self._by_example[signature.name] = False
        logging.warning(
          "requests to %s of %s are not run together: output %r had shape %s for %d "
          "examples",
          signature.name,
          self._version,
          odd[0],
          list(outputs[odd[0]].shape),
          size,
        )
