"""How requests are run together."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
  """Bounds of batches.

  Attributes:
    enabled: whether requests are merged at all.
    max_batch_size: examples of a batch, and of a request where they are merged.
    batch_timeout_micros: how long a request may wait for others to fill its batch while
      another batch is running. It waits longer only if its model has no thread.
    num_batch_threads: batches that run at the same time. A model that runs none begins
      one more.
    max_enqueued_batches: full batches that may wait, of each signature of a model. A
      request that cannot be merged, for its signature has no batches or not one row for
      each example, is one. Where requests are not merged at all, any number waits.
  """

  enabled: bool = False
  max_batch_size: int = 1024
  batch_timeout_micros: int = 1000
  num_batch_threads: int = os.cpu_count() or 1
  max_enqueued_batches: int = 64

  def __post_init__(self):
    for name in ("max_batch_size", "num_batch_threads", "max_enqueued_batches"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}: got {getattr(self, name)}, wanted at least 1")
    if self.batch_timeout_micros < 0:
      raise ValueError(
        f"batch_timeout_micros: got {self.batch_timeout_micros}, wanted at least 0"
      )
