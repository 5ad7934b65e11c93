import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.hash_table_ops import HashTable


class BadArgumentTest(parameterized.TestCase):
  @parameterized.parameters(
    (lambda: HashTable("t", 0), "dim: got 0"),
    (lambda: HashTable("t", 2.5), "dim: got 2.5"),
    (lambda: HashTable("t", True), "dim: got True"),
    (lambda: HashTable("", 4), "name: got ''"),
    (lambda: HashTable(3, 4), "name: got 3, wanted a string"),
    (lambda: HashTable("t", 4, expire_time=0), "'t': got expire_time 0"),
    (lambda: HashTable("t", 4, expire_time=float("nan")), "'t': got expire_time nan"),
    (lambda: HashTable("t", 4, expire_time=None), "'t': got expire_time None"),
    (lambda: HashTable("t", 4, expire_time=float("inf")), "'t': got expire_time inf"),
    (
      lambda: HashTable("t", 4, occurrence_threshold="x"),
      "'t': got occurrence_threshold 'x', wanted a whole number, 0 to 65535",
    ),
    (
      lambda: HashTable("t", 4, admission_capacity=0),
      "admission_capacity: got 0, wanted a whole number, 1 to 1073741824",
    ),
    (lambda: HashTable("t", 4, occurrence_threshold=-1), "got occurrence_threshold -1"),
    (
      lambda: HashTable("t", 4, occurrence_threshold=65536),
      "got occurrence_threshold 65536",
    ),
    (lambda: HashTable("t", 4, initializer="zeros"), "got initializer 'zeros'"),
    (lambda: HashTable("t", 4, optimizer="sgd"), "got optimizer 'sgd'"),
    (
      lambda: HashTable("t", 4, optimizer=entry.ZerosInitializer()),
      "got optimizer ZerosInitializer",
    ),
  )
  def test_of_the_table(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make()

  @parameterized.parameters(
    (lambda t: t.lookup(np.array([1], np.int32)), "ids: got int32, wanted int64"),
    (lambda t: t.lookup(tf.constant([1.0])), "ids: got float32, wanted int64"),
    (lambda t: t.lookup([[1], [2]]), r"ids: got shape \(2, 1\), wanted \[n\]"),
    (lambda t: t.lookup([True, False]), "ids: got True or False among them"),
    (lambda t: t.lookup([7, True]), "ids: got True or False among them"),
    (lambda t: t.lookup(np.array([True])), "ids: got bool, wanted int64"),
    (lambda t: t.lookup([1.5]), r"ids: got \[1.5\], wanted int64 \[n\]"),
    (lambda t: t.lookup(["a"]), r"ids: got \['a'\], wanted int64"),
    (lambda t: t.lookup([2**63]), r"ids: got \[9223372036854775808\], wanted int64"),
    (
      lambda t: t.lookup(tf.ragged.constant([[1], []], dtype=tf.int64)),
      r"ids: got a RaggedTensor, wanted int64 \[n\], such as its values",
    ),
    (
      lambda t: t.lookup(tf.sparse.from_dense(tf.constant([[1]], tf.int64))),
      "ids: got a SparseTensor",
    ),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate="0.1"),
      "learning_rate: got '0.1', wanted one number",
    ),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=True),
      "learning_rate: got True, wanted one number",
    ),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time="now"),
      "update_time: got 'now', wanted one number",
    ),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time=[1, 2]),
      r"update_time: got shape \(2,\), wanted one number",
    ),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), global_step=None),
      "global_step: got None, wanted one number",
    ),
    (lambda t: t.evict(False), "now: got False, wanted one number"),
    (lambda t: t.lookup(1), r"ids: got shape \(\), wanted \[n\]"),
    (lambda t: t.assign([1], [[1.0]]), r"values: got shape \(1, 1\), wanted \(1, 4\)"),
    (lambda t: t.assign([1], np.ones(4)), r"values: got shape \(4,\), wanted \(1, 4\)"),
    (
      lambda t: t.assign([1], tf.ones([1, 4], tf.float64)),
      "values: got float64, wanted float32",
    ),
    (
      lambda t: t.apply_gradients([1], tf.ones([1, 4], tf.float64)),
      "grads: got float64, wanted float32",
    ),
    (lambda t: t.assign([1], [["a"] * 4]), "values: got .* wanted float32"),
    (lambda t: t.assign_add([1], np.ones([2, 4])), r"values: got shape \(2, 4\)"),
    (lambda t: t.apply_gradients([1], np.ones([1, 5])), r"grads: got shape \(1, 5\)"),
    (lambda t: t.erase(np.array([1.5])), "ids: got float64"),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=[0.1, 0.2]),
      r"learning_rate: got shape \(2,\), wanted one number",
    ),
  )
  def test_of_a_call(self, call, message):
    table = HashTable("t", 4)
    with self.assertRaisesRegex(ValueError, message):
      call(table)
    self.assertEqual(table.size(), 0)

  @parameterized.parameters(
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=np.nan), "nan"),
    (
      lambda t: t.apply_gradients([1], np.ones([1, 4]), learning_rate=-1),
      "learning rate of segment 'embedding' must be finite and 0 or more, got -1",
    ),
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time=-1), "-1"),
    (lambda t: t.apply_gradients([1], np.ones([1, 4]), update_time=2**33), "858993"),
    (lambda t: t.evict(-1), "-1"),
  )
  def test_numbers_out_of_range(self, call, message):
    table = HashTable("t", 4)
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message) as raised:
      call(table)
    self.assertNotIn("function_node", str(raised.exception))
    self.assertEqual(table.size(), 0)


if __name__ == "__main__":
  absltest.main()
