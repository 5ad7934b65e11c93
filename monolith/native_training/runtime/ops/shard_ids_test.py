import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError


def shard_ids(
  ids, row_splits, num_shards=1, tables=None, dims=(4,), names=None, **attributes
):
  return ops.monolith_shard_ids(
    ids=[np.asarray(i, np.int64) for i in ids],
    row_splits=[np.asarray(s, np.int64) for s in row_splits],
    num_shards=num_shards,
    table_of_feature=[0] * len(ids) if tables is None else tables,
    table_dims=dims,
    feature_names=[f"f{i}" for i in range(len(ids))] if names is None else names,
    **attributes,
  )


class ShardIdsTest(tf.test.TestCase, parameterized.TestCase):
  def test_each_id_once(self):
    requests, index = shard_ids(
      [[7, 9, 7], [5]], [[0, 2, 3], [0, 0, 1]], tables=[0, 1], dims=[4, 8]
    )
    self.assertAllEqual(requests[0], [2, 1, 7, 9, 5])
    self.assertAllEqual(index, [0, 4, 0, 8])

  def test_features_of_a_table_share_rows(self):
    requests, index = shard_ids([[5, 6], [6, 5, 5]], [[0, 2], [0, 3]])
    self.assertAllEqual(requests[0], [2, 5, 6])
    self.assertAllEqual(index, [0, 4, 4, 0, 0])

  def test_occurrences_of_counted_tables(self):
    ids = [7, 9, 7, 7, 3, 4, 5]
    requests, index = shard_ids(
      [ids, [5, 5]], [[0, 7], [0, 2]], tables=[1, 0], dims=[4, 8], counted_tables=[1]
    )
    occurrences = [3 + (1 << 16) + (1 << 32) + (1 << 48), 1]
    self.assertAllEqual(requests[0], [1, 5 + (1 << 62), 5, 7, 9, 3, 4, 5, *occurrences])
    self.assertAllEqual(index[:4], [4, 12, 4, 4])

  def test_a_counted_table_that_is_not_there(self):
    with self.assertRaisesRegex(InvalidArgument, "counted_tables must be in 0 .. 0"):
      shard_ids([[7]], [[0, 1]], counted_tables=[1])

  def test_empty_batch(self):
    requests, index = shard_ids([[]], [[0]], num_shards=2)
    self.assertAllEqual(requests, [[0], [0]])
    self.assertEmpty(index.numpy())

  def test_empty_feature(self):
    requests, index = shard_ids([[], [3]], [[0, 0], [0, 1]])
    self.assertAllEqual(requests[0], [1, 3])
    self.assertAllEqual(index, [0])

  @parameterized.product(num_shards=[1, 2, 5], num_ids=[100, 40000])
  def test_index_finds_every_id(self, num_shards, num_ids):
    random = np.random.default_rng(num_ids)
    tables = [1, 0, 1]
    dims = [3, 5]
    ids = [random.integers(-(2**63), 2**63 - 1, num_ids // 4) for _ in tables]
    ids = [random.choice(i, num_ids) for i in ids]
    requests, index = shard_ids(
      ids, [[0, num_ids]] * 3, num_shards=num_shards, tables=tables, dims=dims
    )
    # The id that stands at each float offset of each shard's value buffer.
    found = {}
    for shard, request in enumerate(requests):
      request = request.numpy()
      at, offset = len(dims), 0
      for table, dim in enumerate(dims):
        for i in request[at : at + request[table]]:
          found[(shard << 48) | offset] = (table, i)
          offset += dim
        at += request[table]
      self.assertLen(request, at)
    wanted = [(t, i) for t, feature in zip(tables, ids, strict=True) for i in feature]
    self.assertEqual([found[entry] for entry in index.numpy()], wanted)
    self.assertLen(found, len(set(wanted)))

  def test_many_steps_at_once(self):
    ids = np.arange(3000) % 700

    @tf.function
    def several():
      return [
        shard_ids([ids + k, ids], [[0, 3000]] * 2, num_shards=2)[0] for k in range(8)
      ]

    for k, requests in enumerate(several()):
      sent = np.concatenate([request[1:] for request in requests])
      self.assertAllEqual(np.sort(sent), np.arange(700 + k))

  def test_static_shapes(self):
    with tf.Graph().as_default():
      ids = tf.compat.v1.placeholder(tf.int64, [None])
      requests, index = ops.monolith_shard_ids(
        ids=[ids, [1, 2]],
        row_splits=[ids, [0, 2]],
        num_shards=3,
        table_of_feature=[0, 0],
        table_dims=[4],
        feature_names=["a", "b"],
      )
      self.assertEqual([r.shape.as_list() for r in requests], [[None]] * 3)
      self.assertEqual(index.shape.as_list(), [None])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        shard_ids([[[1]]], [[0, 1]])

  @parameterized.parameters(
    ([], "row_splits of mov must have batch size"),
    ([1, 3], "row_splits of mov must start at 0, got 1"),
    ([0, 2, 1, 3], "row_splits of mov must not fall, got 2 followed by 1"),
    ([0, 2], "row_splits of mov must end at the number of ids, got 2, wanted 3"),
    ([0, 4], "row_splits of mov must end at the number of ids, got 4, wanted 3"),
    ([0, 2**62, -1, 3], "row_splits of mov must not fall"),
    ([[0, 3]], "row_splits of mov must be a vector"),
  )
  def test_bad_row_splits(self, splits, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      shard_ids([[1, 2, 3]], [splits], names=["mov"])

  def test_ids_of_wrong_rank(self):
    for ids in (5, [[5]]):
      with self.assertRaisesRegex(InvalidArgument, "ids of mov must be a vector"):
        shard_ids([ids], [[0, 1]], names=["mov"])

  @parameterized.parameters(
    ({"tables": [0, 0]}, "table_of_feature has the wrong size: got 2, wanted 1"),
    ({"tables": []}, "table_of_feature has the wrong size: got 0, wanted 1"),
    ({"tables": [1]}, r"table_of_feature\[0\] must be in 0 .. 0, got 1"),
    ({"tables": [-1]}, r"table_of_feature\[0\] must be in 0 .. 0, got -1"),
    ({"dims": []}, "there must be a table"),
    ({"dims": [0]}, r"table_dims\[0\] must be in 1"),
    ({"dims": [2**40]}, r"table_dims\[0\] must be in 1"),
    ({"names": []}, "feature_names has the wrong size: got 0, wanted 1"),
  )
  def test_bad_attributes(self, attributes, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      shard_ids([[1]], [[0, 1]], **attributes)


if __name__ == "__main__":
  tf.test.main()
