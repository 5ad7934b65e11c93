"""What the table over NumPy arrays refuses, and what it says then."""

import unittest

import numpy as np

from monolith.native_training.runtime.hash_table.python.embedding_table import (
  EmbeddingTable,
  Rows,
)

_IDS = np.array([1, 2, 3])
_VALUES = np.ones([3, 2], np.float32)


class EmbeddingTableArgumentsTest(unittest.TestCase):
  def setUp(self):
    self._table = EmbeddingTable.create("a", dim=2)
    self._table.assign(_IDS, 5 * _VALUES)

  def tearDown(self):
    # Whatever was refused has changed nothing.
    np.testing.assert_array_equal(self._table.lookup(_IDS), 5 * _VALUES)
    self.assertEqual(self._table.size(), 3)

  def _refuses_ids(self, error, pattern, ids):
    calls = {
      "lookup": lambda: self._table.lookup(ids),
      "lookup out": lambda: self._table.lookup(ids, out=_VALUES.copy()),
      "assign": lambda: self._table.assign(ids, _VALUES),
      "assign_add": lambda: self._table.assign_add(ids, _VALUES),
      "apply_gradients": lambda: self._table.apply_gradients(ids, _VALUES),
      "erase": lambda: self._table.erase(ids),
    }
    for name, call in calls.items():
      with self.subTest(name), self.assertRaisesRegex(error, pattern):
        call()

  def _refuses_values(self, error, pattern, values):
    calls = {
      "assign": lambda: self._table.assign(_IDS, values),
      "assign_add": lambda: self._table.assign_add(_IDS, values),
      "apply_gradients": lambda: self._table.apply_gradients(_IDS, values),
      "lookup": lambda: self._table.lookup(_IDS, out=values),
    }
    for name, call in calls.items():
      with self.subTest(name), self.assertRaisesRegex(error, pattern):
        call()

  def test_ids_of_other_types(self):
    wanted = r"wanted int64 \[n\]"
    self._refuses_ids(TypeError, f"ids: got a list, {wanted}", [1, 2, 3])
    self._refuses_ids(TypeError, f"ids: got a NoneType, {wanted}", None)
    for dtype in (np.int32, np.uint64, np.float64, bool, object, ">i8"):
      name = str(np.dtype(dtype))
      self._refuses_ids(TypeError, f"ids: got {name}, {wanted}", _IDS.astype(dtype))

  def test_ids_of_other_shapes(self):
    for shape in ((), (3, 1), (1, 3)):
      ids = np.resize(_IDS, shape)
      self._refuses_ids(ValueError, r"ids: got shape \(.*\), wanted int64 \[n\]", ids)

  def test_ids_in_pieces(self):
    pattern = "ids: got an array that is not contiguous.*ascontiguousarray"
    self._refuses_ids(ValueError, pattern, np.arange(6)[::2])
    self._refuses_ids(ValueError, pattern, _IDS[::-1])
    unaligned = np.frombuffer(b"\0" * 25, np.uint8)[1:].view(np.int64)
    self._refuses_ids(ValueError, pattern, unaligned)

  def test_values_of_other_types(self):
    pattern = r": got .*, wanted float32 \[3, 2\]"
    self._refuses_values(TypeError, pattern, [[1.0, 2.0]] * 3)
    for dtype in (np.float64, np.float16, np.int32, ">f4"):
      self._refuses_values(TypeError, pattern, _VALUES.astype(dtype))

  def test_values_of_other_shapes(self):
    for shape in ((3,), (6,), (2, 3), (3, 3), (4, 2), (3, 2, 1), (0, 2)):
      values = np.ones(shape, np.float32)
      pattern = r": got shape \(.*\), wanted float32 \[3, 2\]"
      self._refuses_values(ValueError, pattern, values)

  def test_values_in_pieces(self):
    pattern = r": got an array that is not contiguous in C order, wanted float32"
    self._refuses_values(ValueError, pattern, np.ones([2, 3], np.float32).T)
    self._refuses_values(ValueError, pattern, np.ones([6, 2], np.float32)[::2])
    self._refuses_values(ValueError, pattern, np.ones([3, 4], np.float32)[:, :2])

  def test_out_that_is_read_only(self):
    out = np.zeros([3, 2], np.float32)
    out.flags.writeable = False
    with self.assertRaisesRegex(ValueError, "out: got an array that is read-only"):
      self._table.lookup(_IDS, out=out)
    np.testing.assert_array_equal(out, 0)

  def test_values_that_are_not_finite(self):
    for bad in (np.nan, np.inf, -np.inf):
      values = _VALUES.copy()
      values[1, 1] = bad
      for method in ("assign", "assign_add", "apply_gradients"):
        with (
          self.subTest(method),
          self.assertRaisesRegex(ValueError, "id 2.*(nan|inf)"),
        ):
          getattr(self._table, method)(_IDS, values)

  def test_learning_rates(self):
    for rate in (-1.0, np.nan, [0.1, 0.1]):
      with self.subTest(rate=rate), self.assertRaisesRegex(ValueError, "learning.rate"):
        self._table.apply_gradients(_IDS, _VALUES, learning_rate=rate)

  def test_times(self):
    for time in (-1, 2**32):
      with self.assertRaisesRegex(ValueError, "wanted seconds"):
        self._table.assign(_IDS, _VALUES, update_time=time)
      with self.assertRaisesRegex(ValueError, "wanted seconds"):
        self._table.evict(now=time)

  def test_rows_of_another_table(self):
    wide = EmbeddingTable.create("b", dim=3)
    wide.assign(_IDS[:1], np.ones([1, 3], np.float32))
    rows = next(rows for rows in wide.export() if len(rows.ids))
    with self.assertRaisesRegex(ValueError, r"embeddings: got shape \(1, 3\)"):
      self._table.import_rows(rows)
    with self.assertRaisesRegex(TypeError, "update_times: got float64"):
      wide.import_rows(rows._replace(update_times=np.zeros(1)))
    with self.assertRaises(ValueError):
      wide.import_rows(rows._replace(update_times=np.zeros(2, np.uint32)))

  def test_rows_that_cannot_be(self):
    table = EmbeddingTable.create("b", dim=1)  # Adagrad
    rows = Rows(
      np.array([7, 8]),
      np.ones([2, 1], np.float32),
      np.ones([2, 1], np.float32),
      np.ones(2, np.uint32),
    )
    for column, bad, message in (
      ("embeddings", np.nan, "table 'b': the embedding of id 8 .* is nan"),
      ("states", np.inf, "table 'b': the optimizer state of id 8 .* is inf"),
      ("states", -1.0, "the optimizer state of id 8 .* is -1, wanted "),
    ):
      values = np.array([[1], [bad]], np.float32)
      with self.subTest(column), self.assertRaisesRegex(ValueError, message):
        table.import_rows(rows._replace(**{column: values}))
      self.assertEqual(table.size(), 0)
    table.import_rows(rows)

  def test_admission_capacities(self):
    for capacity in (0, -1, 2**30 + 1, 1.5, True):
      with self.assertRaisesRegex(ValueError, "admission_capacity: got .*, wanted a"):
        EmbeddingTable.create("a", 2, admission_capacity=capacity)

  def test_configs(self):
    for config, error, pattern in (
      ("{", ValueError, "not valid JSON"),
      ({"name": "a"}, ValueError, "has no 'segments'"),
      ({"name": "a", "segments": [{"name": "s", "dim": 0}]}, ValueError, "dim"),
      (7, TypeError, "wanted a mapping or JSON text"),
    ):
      with self.subTest(config=config), self.assertRaisesRegex(error, pattern):
        EmbeddingTable(config)
    for num_threads in (0, 10**6, True, 1.5):
      with self.assertRaisesRegex(ValueError, f"num_threads: got {num_threads}"):
        EmbeddingTable(self._table.config, num_threads=num_threads)


if __name__ == "__main__":
  unittest.main()
