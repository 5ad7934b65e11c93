import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError


def assign(handle, request, values, time=1000, mode="set"):
  return ops.monolith_assign(
    handle, request, np.asarray(values, np.float32), update_time=time, mode=mode
  )


class RowTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.handle = testing.table_set(
      testing.config(
        mov=[testing.segment(2, value=1.0, optimizer=testing.ADAGRAD)],
        uid=[testing.segment(1, value=2.0)],
      )
    )

  def lookup(self, *ids):
    return ops.monolith_lookup(self.handle, testing.request(*ids))

  def test_assign(self):
    assign(self.handle, testing.request([7, 9, 7], [5]), [1, 2, 3, 4, 5, 6, 7])
    self.assertAllEqual(self.lookup([7, 9, 8], [5]), [5, 6, 3, 4, 1, 1, 7])

  def test_assign_add(self):
    assign(self.handle, testing.request([7, 7], []), [1, 2, 3, 4], mode="add")
    self.assertAllEqual(self.lookup([7], [7]), [5, 7, 2])

  def test_erase(self):
    assign(self.handle, testing.request([7, 9], [7]), [5.0] * 5)
    erased = ops.monolith_erase(self.handle, testing.request([9, 10], [7]))
    self.assertAllEqual(erased, 2)
    self.assertAllEqual(self.lookup([7, 9], [7]), [5, 5, 1, 1, 2])

  def test_evict(self):
    day = 24 * 60 * 60
    handle = testing.table_set(
      testing.config(mov=[testing.segment(1)]).replace(
        '"name": "mov"', '"name": "mov", "expire_time": 2'
      )
    )
    assign(handle, testing.request([1]), [5.0], time=10 * day)
    assign(handle, testing.request([2]), [5.0], time=12 * day)
    self.assertAllEqual(ops.monolith_evict(handle, now=12 * day), [0])
    self.assertAllEqual(ops.monolith_evict(handle, now=13 * day), [1])
    self.assertEqual(list(testing.export(handle)), [2])
    for now in (-1, 2**32):
      with self.assertRaisesRegex(InvalidArgument, "now must be in seconds"):
        ops.monolith_evict(handle, now=now)
    with self.assertRaisesRegex(InvalidArgument, "now must be a scalar"):
      ops.monolith_evict(handle, now=[1])

  def test_evicts_in_parts(self):
    day = 24 * 60 * 60
    handle = testing.table_set(
      testing.config(mov=[testing.segment(1)], uid=[testing.segment(1)]).replace(
        '"name": "mov"', '"name": "mov", "expire_time": 2'
      )
    )
    ids = list(range(1000))
    assign(handle, testing.request(ids, ids), [5.0] * 2000, time=10 * day)
    assign(handle, testing.request([7], []), [5.0], time=12 * day)
    parts = [
      ops.monolith_evict_part(handle, 13 * day, part, num_parts=10).numpy()
      for part in range(10)
    ]
    self.assertAllEqual(np.sum(parts, axis=0), [999, 0])
    self.assertAllGreater([mov for mov, _ in parts], 0)
    self.assertEqual(list(testing.export(handle)), [7])
    for part in (-1, 10):
      with self.assertRaisesRegex(InvalidArgument, "part must be in 0 .. 9, got"):
        ops.monolith_evict_part(handle, 13 * day, part, num_parts=10)

  def test_export(self):
    ids = list(range(-500, 500))
    values = np.arange(2000).reshape(1000, 2)
    assign(self.handle, testing.request(ids, [3]), [*values.flatten(), 9], time=123)
    rows = testing.export(self.handle, 0)
    state = np.float32(0.1)
    self.assertEqual(
      rows,
      {
        i: (value, [state, state], 123)
        for i, value in zip(ids, values.tolist(), strict=True)
      },
    )
    self.assertEqual(testing.export(self.handle, 1), {3: ([9.0], [], 123)})

  def test_unknown_table(self):
    with self.assertRaisesRegex(
      InvalidArgument, "unknown table: table must be in 0 .. 1, got 2"
    ):
      ops.monolith_export_rows(self.handle, stripe=0, table=2)
    with self.assertRaises((InvalidArgument, ValueError)):
      ops.monolith_export_rows(self.handle, stripe=0, table=-1)

  def test_unknown_stripe(self):
    stripes = int(ops.monolith_export_stripes(self.handle)[0])
    for stripe in (-1, stripes, 2**40):
      with self.assertRaisesRegex(InvalidArgument, "stripe must be in 0 .."):
        ops.monolith_export_rows(self.handle, stripe=stripe, table=0)
    with self.assertRaisesRegex(InvalidArgument, "stripe must be a scalar"):
      ops.monolith_export_rows(self.handle, stripe=[0], table=0)

  @parameterized.parameters("set", "add")
  def test_bad_assign_changes_nothing(self, mode):
    request = testing.request([7], [8])
    for values, time, message in (
      ([1, 2], 1, "values has the wrong size: got 2, wanted 3"),
      ([[1, 2, 3]], 1, "values must be a vector"),
      ([1, 2, float("nan")], 1, "the value of id 8 .* is nan"),
      ([1, 2, 3], -1, "update_time must be in seconds"),
      ([1, 2, 3], [1], "update_time must be a scalar"),
    ):
      with self.assertRaisesRegex(InvalidArgument, message):
        assign(self.handle, request, values, time=time, mode=mode)
    with self.assertRaisesRegex(InvalidArgument, "count of table 1 is -1"):
      assign(self.handle, [1, -1, 7], [1, 2], mode=mode)
    with self.assertRaisesRegex(InvalidArgument, "request must be a vector"):
      ops.monolith_erase(self.handle, [[1, 0, 7]])
    self.assertAllEqual(ops.monolith_table_stats(self.handle).sizes, [0, 0])


if __name__ == "__main__":
  tf.test.main()
