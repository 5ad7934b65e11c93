"""Rows over parameter servers, for `checkpoint_benchmark`: filled, trained, saved."""

import time

import numpy as np
import tensorflow as tf

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer
from monolith.native_training.training.processes.cluster import Cluster

_FILL_BATCH = 1 << 17
_STRIDE = 0x9E3779B97F4A7C15  # Odd, so that different numbers are different ids.


class CheckpointRows:
  """Rows with Adagrad's state on the servers of a cluster, in the default graph.

  Args:
    cluster: as one of its workers sees it.
    target: of this worker's server.
    dim: floats of a row.
    occurrence_threshold: of the ids.
    on_trial: for how many ids without a row there is room.
  """

  def __init__(
    self,
    cluster: Cluster,
    target: str,
    dim: int,
    occurrence_threshold: int = 0,
    on_trial: int = 1000,
  ):
    self._threshold = occurrence_threshold
    self._ids = tf.compat.v1.placeholder(tf.int64, [None])
    splits = tf.range(tf.size(self._ids, tf.int64) + 1)
    ids = tf.RaggedTensor.from_row_splits(self._ids, splits, validate=False)
    embedding = ShardedEmbedding(
      {"id": ids}, cluster.ps_devices, admission_capacity=on_trial
    )
    embedding.plan.add_feature(
      feature.FeatureColumn(
        "id", "id", feature.ReduceSum(), occurrence_threshold, 36500
      )
    )
    rows = embedding.declare(
      "id",
      plan.Segment(
        "vec",
        dim,
        entry.DEFAULT_INITIALIZER,
        entry.AdagradOptimizer(),
        entry.DEFAULT_COMPRESSOR,
        0.05,
      ),
    )
    embedding.build()
    with tf.device(cluster.ps_devices[0]):
      step = tf.compat.v1.train.get_or_create_global_step()
    updates = embedding.update(
      embedding.gradient_buffers([rows]), tf.constant(0, tf.int64)
    )
    self._train = tf.group(updates)
    self._checkpointer = Checkpointer(embedding, max_to_keep=2, max_increments=1000)
    del step
    init = tf.compat.v1.global_variables_initializer()
    self._session = tf.compat.v1.Session(target)
    self._session.run(init)
    self._random = np.random.default_rng(0)
    self._count = 0

  def fill(self, count: int) -> None:
    """Trains ids 0 to `count`, as often as gives them a row."""
    for begin in range(0, count, _FILL_BATCH):
      numbers = np.arange(begin, min(count, begin + _FILL_BATCH))
      self.train(np.tile(numbers, max(1, self._threshold)))
    self._count = count

  def put_on_trial(self, numbers: np.ndarray) -> None:
    """Trains ids that are to have no row, once."""
    for part in np.array_split(numbers, -(-len(numbers) // _FILL_BATCH)):
      self.train(part)

  def train(self, numbers: np.ndarray) -> float:
    """Trains the ids of these numbers; the seconds that it took."""
    ids = (numbers.astype(np.uint64) * np.uint64(_STRIDE)).astype(np.int64)
    begin = time.monotonic()
    self._session.run(self._train, {self._ids: ids})
    return time.monotonic() - begin

  def train_some(self, batch: int) -> float:
    """Trains a random batch of the ids there are; the seconds that it took."""
    return self.train(self._random.integers(0, self._count, batch))

  def save(self, folder: str, step: int) -> str:
    return self._checkpointer.save(self._session, folder, step)

  def save_all(self, folder: str, step: int) -> str:
    """Saves all rows, whatever was saved before."""
    return self._checkpointer.save(self._session, folder, step, all_rows=True)

  def restore(self, path: str) -> None:
    self._checkpointer.restore(self._session, path)

  def clear(self) -> None:
    self._checkpointer.clear_tables(self._session)

  def stats(self) -> tuple[int, int]:
    """How many rows and bytes there are."""
    ((rows, size),) = self._checkpointer.table_stats(self._session).values()
    return rows, size

  def is_increment(self, path: str) -> bool:
    return bool(checkpoint.read_manifest(path).base)
