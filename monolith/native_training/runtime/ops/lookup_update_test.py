import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError
NAN = float("nan")
INF = float("inf")


def bad_requests():
  return (
    ([], "must start with one count per table: got 0 numbers, wanted at least 2"),
    ([1], "must start with one count per table: got 1 numbers"),
    ([-1, 1, 5], "count of table 0 is -1"),
    ([1, 1, 5], "count of table 1 is 1 where only 0 ids are left"),
    ([1, 0, 5, 6], "counts add up to 1, but it has 2 ids"),
    ([1 + 2**62, 0, 5], "must have occurrences of the 1 ids of table 0"),
    ([2**63 - 1, 2**63 - 1, 5], "counts must add up to its 1 ids"),
    ([[1, 0, 5]], "request must be a vector"),
    (3, "request must be a vector"),
  )


class LookupUpdateTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.handle = testing.table_set(
      testing.config(
        mov=[testing.segment(2, value=1.0)],
        uid=[testing.segment(1, "a", value=2.0), testing.segment(2, "b", value=3.0)],
      )
    )

  def lookup(self, *ids, **kwargs):
    return ops.monolith_lookup(self.handle, testing.request(*ids), **kwargs)

  def test_lookup_of_all_tables(self):
    self.assertAllEqual(self.lookup([7, 9], [5]), [1, 1, 1, 1, 2, 3, 3])
    self.assertAllEqual(self.lookup([7], [], missing="zero"), [0, 0])
    self.assertEmpty(self.lookup([], []).numpy())
    self.assertAllEqual(ops.monolith_table_stats(self.handle).sizes, [0, 0])

  def test_a_threshold_counts_the_occurrences_of_the_request(self):
    counted = testing.config(t=[testing.segment(1, value=1.0)]).replace(
      '"name": "t"', '"name": "t", "occurrence_threshold": 5'
    )
    handle = testing.table_set(counted)

    def lookup(*ids):
      return ops.monolith_lookup(handle, testing.request(ids))

    (request,), _ = ops.monolith_shard_ids(
      ids=[[7, 8, 7, 7, 9]],
      row_splits=[[0, 5]],
      num_shards=1,
      table_of_feature=[0],
      table_dims=[1],
      feature_names=["f"],
      counted_tables=[0],
    )
    self.assertAllEqual(ops.monolith_lookup(handle, request), [0, 0, 0])
    for expected in ([0, 0, 0], [0.5, 0, 0]):
      testing.update(handle, request, [0.5, 1, 1], [1.0], ids_are_unique=True)
      self.assertAllEqual(lookup(7, 8, 9), expected)
    # Without occurrences each id of a request counts as one.
    testing.update(handle, testing.request([8, 8, 9]), [0.25, 0.25, 1], [1.0])
    self.assertAllEqual(lookup(8, 9), [0, 0])
    testing.update(handle, testing.request([8, 9]), [0.25, 1], [1.0])
    self.assertAllEqual(lookup(8, 9), [0.75, 0])

  def test_unique_ids_need_no_summing(self):
    adagrad = {"type": "adagrad", "initial_accumulator_value": 1.0}
    tables = [
      testing.table_set(testing.config(t=[testing.segment(1, optimizer=adagrad)]))
      for _ in range(2)
    ]
    for handle, are_unique in zip(tables, (False, True), strict=True):
      testing.update(handle, testing.request([7, 9]), [1, 2], ids_are_unique=are_unique)
    self.assertEqual(*map(testing.export, tables))
    # The promise broken: two steps instead of one of the sum.
    for handle, are_unique in zip(tables, (False, True), strict=True):
      testing.update(handle, testing.request([5, 5]), [1, 2], ids_are_unique=are_unique)
    self.assertEqual(testing.export(tables[0])[5][1], [1 + 3**2])
    self.assertEqual(testing.export(tables[1])[5][1], [1 + 1 + 2**2])

  def test_update_with_a_rate_per_segment(self):
    testing.update(
      self.handle,
      testing.request([7, 9], [7]),
      [1, 2, 3, 4, 10, 20, 30],
      rates=[0.5, 0.1, 0.01],
      time=77,
    )
    self.assertAllClose(
      self.lookup([7, 9, 8], [7]),
      [1 - 0.5, 1 - 1, 1 - 1.5, 1 - 2, 1, 1, 2 - 1, 3 - 0.2, 3 - 0.3],
    )
    self.assertAllEqual(ops.monolith_table_stats(self.handle).sizes, [2, 1])
    self.assertEqual(testing.export(self.handle, 1)[7][2], 77)

  def test_update_with_the_configured_rate(self):
    handle = testing.table_set(
      testing.config(
        mov=[
          testing.segment(
            1, value=1.0, optimizer={"type": "sgd", "learning_rate": 0.25}
          )
        ]
      )
    )
    testing.update(handle, testing.request([7]), [2.0])
    self.assertAllClose(ops.monolith_lookup(handle, testing.request([7])), [0.5])

  def test_repeated_ids_are_summed(self):
    testing.update(
      self.handle, testing.request([7, 7], []), [1, 2, 3, 4], rates=[0.5] * 3
    )
    self.assertAllClose(self.lookup([7], []), [1 - 2, 1 - 3])

  def test_large_batch_equals_numpy_adagrad(self):
    handle = testing.table_set(
      testing.config(mov=[testing.segment(32, optimizer=testing.ADAGRAD)])
    )
    random = np.random.default_rng(1)
    ids = random.permutation(200_000)[:65_536]
    request = testing.request(ids)
    values = ops.monolith_lookup(handle, request).numpy()
    accumulator = np.full(values.shape, 0.1, np.float32)
    for step in range(3):
      gradients = random.normal(size=values.shape).astype(np.float32)
      testing.update(handle, request, gradients, rates=[0.05], step=step)
      accumulator += gradients**2
      values -= np.float32(0.05) * gradients / np.sqrt(accumulator)
      self.assertAllClose(
        ops.monolith_lookup(handle, request), values, rtol=1e-6, atol=1e-6
      )

  def test_empty_update_changes_nothing(self):
    testing.update(self.handle, testing.request([], []), [], rates=[0.5] * 3)
    self.assertAllEqual(ops.monolith_table_stats(self.handle).sizes, [0, 0])

  def test_graph_mode_shapes(self):
    with tf.Graph().as_default():
      handle = testing.table_set(testing.config(mov=[testing.segment(2, value=1.0)]))
      request = tf.compat.v1.placeholder(tf.int64, [None])
      values = ops.monolith_lookup(handle, request)
      self.assertEqual(values.shape.as_list(), [None])
      with tf.compat.v1.Session() as session:
        self.assertAllEqual(session.run(values, {request: [1, 7]}), [1, 1])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        ops.monolith_lookup(handle, [[1, 7]])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        testing.update(handle, [1, 7], [[1, 2]])

  @parameterized.parameters(*bad_requests())
  def test_bad_request(self, request, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      ops.monolith_lookup(self.handle, np.array(request, np.int64))
    with self.assertRaisesRegex(InvalidArgument, message):
      testing.update(self.handle, np.array(request, np.int64), [1.0])

  @parameterized.parameters(
    ({"gradients": [1, 2]}, "gradients has the wrong size: got 2, wanted 5"),
    ({"gradients": [1] * 6}, "gradients has the wrong size: got 6, wanted 5"),
    ({"gradients": [[1] * 5]}, "gradients must be a vector"),
    ({"rates": [0.1]}, "learning_rates has the wrong size: got 1, wanted 3"),
    ({"rates": [0.1] * 4}, "learning_rates has the wrong size: got 4, wanted 3"),
    ({"rates": [[0.1] * 3]}, "learning_rates must be a vector"),
    ({"rates": [0.1, 0.1, NAN]}, "learning rate"),
    ({"rates": [INF, 0.1, 0.1]}, "learning rate"),
    ({"rates": [0.1, -0.1, 0.1]}, "learning rate of segment .* got -0.1"),
    ({"time": -1}, "update_time must be in seconds since the epoch"),
    ({"time": 2**32}, "update_time must be in seconds since the epoch"),
    ({"time": [1]}, "update_time must be a scalar"),
    ({"step": -1}, "global_step must be 0 or more, got -1"),
    ({"step": [1]}, "global_step must be a scalar"),
    ({"gradients": [1, NAN, 1, 1, 1]}, "mov"),
    ({"gradients": [1, 1, 1, 1, INF]}, "uid"),
    ({"gradients": [1, 1, -INF, 1, 1]}, "uid"),
  )
  def test_bad_update_changes_no_table(self, arguments, message):
    ids = testing.request([7], [8])
    testing.update(self.handle, ids, [1] * 5, rates=[0.5] * 3)
    before = [testing.export(self.handle, table) for table in range(2)]
    arguments = {"gradients": [1.0] * 5, "rates": [0.5] * 3, **arguments}
    with self.assertRaisesRegex(InvalidArgument, message):
      testing.update(self.handle, ids, time=arguments.pop("time", 2000), **arguments)
    self.assertEqual([testing.export(self.handle, table) for table in range(2)], before)

  def test_bad_gradient_names_table_and_id(self):
    with self.assertRaisesRegex(InvalidArgument, "uid.*4711"):
      testing.update(
        self.handle, testing.request([7], [8, 4711]), [1, 1, 1, 1, 1, 1, NAN, 1]
      )


if __name__ == "__main__":
  tf.test.main()
