import itertools
import json

import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

_numbers = itertools.count()


class TableSetTest(tf.test.TestCase, parameterized.TestCase):
  def test_same_name_and_config_is_the_same_set(self):
    config = testing.config(mov=[testing.segment(2)])
    first = testing.table_set(config, name="shared")
    ops.monolith_assign(first, testing.request([7]), [1.0, 2.0], update_time=1)
    # Another graph has another kernel, which finds the set by its name.
    with tf.Graph().as_default():
      handle = testing.table_set(config, name="shared_in_graph")
      request = testing.request([7])
      assign = ops.monolith_assign(handle, request, [3.0, 4.0], update_time=1)
      again = testing.table_set(config, name="shared_in_graph")
      values = ops.monolith_lookup(again, request)
      with tf.compat.v1.Session() as session:
        session.run(assign)
        self.assertAllEqual(session.run(values), [3, 4])
    self.assertAllEqual(ops.monolith_lookup(first, testing.request([7])), [1, 2])

  def test_other_name_is_another_set(self):
    config = testing.config(mov=[testing.segment(2, value=0.5)])
    first = testing.table_set(config)
    second = testing.table_set(config)
    ops.monolith_assign(first, testing.request([7]), [1.0, 2.0], update_time=1)
    self.assertAllEqual(ops.monolith_lookup(second, testing.request([7])), [0.5, 0.5])

  @parameterized.parameters(
    ({"mov": [("vec", 3)]}, "segment vec of table mov: dim is 2, not 3"),
    ({"mov": [("bias", 2)]}, "segment vec of table mov: name is vec, not bias"),
    ({"uid": [("vec", 2)]}, "table mov: name is mov, not uid"),
    ({"mov": [("vec", 2), ("b", 1)]}, "table mov: number of segments is 1, not 2"),
    (
      {"mov": [("vec", 2)], "uid": [("vec", 2)]},
      "number of tables is 1, not 2",
    ),
  )
  def test_another_config_is_refused(self, tables, message):
    name = f"refused_{next(_numbers)}"
    testing.table_set(testing.config(mov=[testing.segment(2)]), name=name)
    other = testing.config(
      **{
        table: [testing.segment(dim, name=segment) for segment, dim in segments]
        for table, segments in tables.items()
      }
    )
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
      testing.table_set(other, name=name)

  def test_another_optimizer_is_refused(self):
    name = f"refused_{next(_numbers)}"
    testing.table_set(testing.config(mov=[testing.segment(2)]), name=name)
    other = testing.config(mov=[testing.segment(2, optimizer=testing.ADAGRAD)])
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, r"optimizer is sgd\(\), not adagrad\(.*0.1\)"
    ):
      testing.table_set(other, name=name)

  @parameterized.parameters(
    "",
    "[]",
    '{"tables": []}',
    '{"tables": [{"name": "mov", "segments": []}]}',
    '{"tables": [{"name": "mov", "segments": [{"name": "vec", "dim": 0}]}]}',
  )
  def test_bad_config(self, config):
    with self.assertRaises(tf.errors.InvalidArgumentError):
      testing.table_set(config)

  def test_unknown_optimizer_is_named(self):
    config = testing.config(mov=[testing.segment(2, optimizer={"type": "magic"})])
    with self.assertRaisesRegex(tf.errors.OpError, "magic"):
      testing.table_set(config)

  def test_stats_and_clear(self):
    handle = testing.table_set(
      testing.config(mov=[testing.segment(2)], uid=[testing.segment(1)])
    )
    request = testing.request([5, 6, 7], [8])
    ops.monolith_assign(handle, request, [0.0] * 7, update_time=1)
    sizes, memory = ops.monolith_table_stats(handle)
    self.assertAllEqual(sizes, [3, 1])
    self.assertAllGreater(memory, 0)
    ops.monolith_table_clear(handle)
    self.assertAllEqual(ops.monolith_table_stats(handle).sizes, [0, 0])

  def test_destroyed_set_is_gone(self):
    handle = testing.table_set(testing.config(mov=[testing.segment(2)]))
    tf.raw_ops.DestroyResourceOp(resource=handle)
    with self.assertRaises(tf.errors.NotFoundError):
      ops.monolith_table_stats(handle)

  def test_handle_of_another_resource_is_refused(self):
    queue = tf.queue.FIFOQueue(1, [tf.int64]).queue_ref
    with self.assertRaises(tf.errors.InvalidArgumentError):
      ops.monolith_table_stats(queue)

  def test_json_round_trip_of_large_seed(self):
    seed = 2**63 - 1
    config = testing.config(mov=[testing.segment(2, seed=seed)])
    self.assertEqual(json.loads(config)["tables"][0]["segments"][0]["seed"], seed)
    other = testing.config(mov=[testing.segment(2, seed=seed - 1)])
    request = testing.request([3])
    self.assertNotAllEqual(
      ops.monolith_lookup(testing.table_set(config), request),
      ops.monolith_lookup(testing.table_set(other), request),
    )


if __name__ == "__main__":
  tf.test.main()
