"""Admission by occurrence over several servers."""

import collections

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding

_SERVERS = 3
_THRESHOLD = 4


def _column(name: str, table: str, threshold: int) -> feature.FeatureColumn:
  return feature.FeatureColumn(name, table, feature.ReduceSum(), threshold, 36500)


def _segment(dim: int) -> plan.Segment:
  optimizer = entry.SgdOptimizer(1.0)
  return plan.Segment(
    "vec",
    dim,
    entry.ConstantsInitializer(1.0),
    optimizer,
    entry.DEFAULT_COMPRESSOR,
    optimizer.learning_rate,
  )


class _Oracle:
  """Occurrences and rows of one table whose gradients are all 1."""

  def __init__(self, threshold: int):
    self._threshold = threshold
    self._occurred = collections.Counter()
    self._rows = {}

  def read(self, i: int) -> float:
    return self._rows.get(i, 0.0 if self._threshold else 1.0)

  def train(self, ids: list[int]) -> None:
    in_batch = collections.Counter(ids)
    self._occurred.update(in_batch)
    for i, count in in_batch.items():
      if i in self._rows or self._occurred[i] >= self._threshold:
        self._rows[i] = self._rows.get(i, 1.0) - count


class ShardedAdmissionTest(parameterized.TestCase):
  @parameterized.parameters(1, 2, 3)
  def test_any_number_of_servers_admits_the_same_ids(self, servers):
    columns = [
      _column("a", "counted", _THRESHOLD),
      _column("b", "plain", 0),
      _column("c", "counted", _THRESHOLD),
    ]
    oracles = {"counted": _Oracle(_THRESHOLD), "plain": _Oracle(0)}
    random = np.random.default_rng(3)  # The same batches for each number of servers.
    with tf.Graph().as_default():
      values = {c.name: tf.compat.v1.placeholder(tf.int64, [None]) for c in columns}
      features = {
        name: tf.RaggedTensor.from_row_lengths(ids, [tf.size(ids)])
        for name, ids in values.items()
      }
      devices = [f"/device:CPU:{i}" for i in range(servers)]
      embedding = ShardedEmbedding(features, devices)
      slices = []
      for column in columns:
        embedding.plan.add_feature(column)
        slices.append(embedding.declare(column.name, _segment(2)))
      embedding.build()
      buffers = embedding.gradient_buffers([tf.ones_like(s) for s in slices])
      train = tf.group(embedding.update(buffers, tf.constant(0, tf.int64)))
      config = tf.compat.v1.ConfigProto(device_count={"CPU": _SERVERS})
      with tf.compat.v1.Session(config=config) as session:
        for _ in range(15):
          batch = {c.name: random.zipf(1.6, 40) % 97 for c in columns}
          feed = {values[name]: ids for name, ids in batch.items()}
          got = session.run(slices, feed)
          for column, rows in zip(columns, got, strict=True):
            oracle = oracles[column.table]
            expected = sum(oracle.read(int(i)) for i in batch[column.name])
            np.testing.assert_allclose(rows, [[expected] * 2], err_msg=column.name)
          session.run(train, feed)
          oracles["counted"].train([*batch["a"].tolist(), *batch["c"].tolist()])
          oracles["plain"].train(batch["b"].tolist())


if __name__ == "__main__":
  absltest.main()
