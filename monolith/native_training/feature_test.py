import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import feature


class _Last(feature.Combiner):
  def combine(self, embeddings):
    return embeddings[:, -1]


class MakeCombinerTest(parameterized.TestCase):
  @parameterized.parameters(
    ("reduce_sum", 0, feature.ReduceSum()),
    ("reduce_mean", 0, feature.ReduceMean()),
    ("first_n", 3, feature.FirstN(3)),
    (None, 0, feature.ReduceSum()),
    (None, 3, feature.FirstN(3)),
    ("reduce_mean", 3, feature.ReduceMean()),
    (feature.FirstN(2), 0, feature.FirstN(2)),
  )
  def test_names_and_objects(self, given, max_seq_length, expected):
    self.assertEqual(feature.make_combiner("f", given, max_seq_length), expected)

  def test_an_object_of_the_users_own_is_kept(self):
    mine = _Last()
    self.assertIs(feature.make_combiner("f", mine, 0), mine)

  @parameterized.parameters(
    ("sum", 0, "'f': got combiner 'sum', wanted 'reduce_sum'"),
    ("first_n", 0, "'f': combiner 'first_n' wants max_seq_length > 0, got 0"),
    (tf.reduce_sum, 0, "'f': got combiner"),
    (feature.ReduceSum, 0, "'f': got combiner"),
  )
  def test_anything_else_is_refused(self, given, max_seq_length, message):
    with self.assertRaisesRegex(ValueError, message):
      feature.make_combiner("f", given, max_seq_length)

  def test_negative_max_seq_length_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'f': got max_seq_length -1"):
      feature.make_combiner("f", None, -1)

  def test_first_n_needs_a_length(self):
    for length in (0, 1.5, True):
      with self.assertRaisesRegex(ValueError, f"FirstN.length: got {length}"):
        feature.FirstN(length)

  def test_a_combiner_without_combine_names_its_class(self):
    class Unfinished(feature.Combiner):
      pass

    with self.assertRaisesRegex(NotImplementedError, "Unfinished has no `combine`"):
      Unfinished().combine(tf.ragged.constant([[1.0]]))


class FeatureColumnTest(parameterized.TestCase):
  def _column(self, **changes):
    settings = dict(
      name="f",
      table="t",
      combiner=feature.ReduceSum(),
      occurrence_threshold=0,
      expire_time=1.5,
    )
    return feature.FeatureColumn(**{**settings, **changes})

  @parameterized.parameters(0, 1, 65535)
  def test_thresholds_in_range(self, threshold):
    self.assertEqual(
      self._column(occurrence_threshold=threshold).occurrence_threshold, threshold
    )

  @parameterized.parameters(
    ({"occurrence_threshold": -1}, "'f': got occurrence_threshold -1"),
    ({"occurrence_threshold": 65536}, "'f': got occurrence_threshold 65536"),
    (
      {"occurrence_threshold": "x"},
      "'f': got occurrence_threshold 'x', wanted a whole",
    ),
    ({"occurrence_threshold": 1.5}, "'f': got occurrence_threshold 1.5"),
    ({"expire_time": 0}, "'f': got expire_time 0, wanted a finite number of days"),
    ({"expire_time": float("nan")}, "'f': got expire_time nan"),
    ({"expire_time": float("inf")}, "'f': got expire_time inf"),
    ({"expire_time": None}, "'f': got expire_time None"),
  )
  def test_settings_out_of_range(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      self._column(**changes)


class IdsOfTest(parameterized.TestCase):
  def _ids(self, value):
    return feature.ids_of("f", {"f": value})

  def test_every_form_of_ids_becomes_ragged_int64(self):
    ragged = tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64)
    sparse = tf.SparseTensor(
      indices=[[0, 0], [0, 1], [2, 0]],
      values=tf.constant([1, 2, 3], tf.int64),
      dense_shape=[3, 2],
    )
    for value in (ragged, ragged.with_row_splits_dtype(tf.int32), sparse):
      ids = self._ids(value)
      self.assertEqual(ids.to_list(), [[1, 2], [], [3]])
      self.assertEqual(ids.row_splits.dtype, tf.int64)

  def test_sparse_ids_may_leave_columns_out_and_stand_in_any_order(self):
    gaps = tf.SparseTensor(
      indices=[[0, 2], [2, 3], [2, 1]],
      values=tf.constant([1, 2, 3], tf.int64),
      dense_shape=[4, 5],
    )
    self.assertEqual(self._ids(gaps).to_list(), [[1], [], [2, 3], []])
    nothing = tf.sparse.from_dense(tf.zeros([2, 3], tf.int64))
    self.assertEqual(self._ids(nothing).to_list(), [[], []])

  def test_dense_ids_keep_every_value(self):
    matrix = tf.constant([[1, 0], [0, -1]], tf.int64)
    self.assertEqual(self._ids(matrix).to_list(), [[1, 0], [0, -1]])
    vector = tf.constant([4, 5], tf.int64)
    self.assertEqual(self._ids(vector).to_list(), [[4], [5]])

  def test_an_empty_batch(self):
    self.assertEqual(self._ids(tf.zeros([0, 3], tf.int64)).to_list(), [])
    self.assertEqual(self._ids(tf.zeros([2, 0], tf.int64)).to_list(), [[], []])

  def test_works_where_the_batch_size_is_not_known(self):
    lengths = []

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)])
    def count(ids):
      lengths.append(ids.shape[0])
      return self._ids(ids).row_lengths()

    self.assertEqual(count(tf.ones([3, 2], tf.int64)).numpy().tolist(), [2, 2, 2])
    self.assertEqual(lengths, [None])

  @parameterized.parameters(
    (lambda: tf.constant(["a"]), "'f': got string .*tf.strings.to_hash_bucket_fast"),
    (lambda: tf.constant([1], tf.int32), "'f': got int32"),
    (lambda: tf.constant(1, tf.int64), r"'f': got int64 of shape \(\)"),
    (lambda: tf.ones([2, 2, 2], tf.int64), r"'f': got int64 of shape \(2, 2, 2\)"),
    (lambda: tf.ragged.constant([["a"], []]), "'f': got string"),
    (lambda: tf.ragged.constant([[1.0]]), "'f': got float32"),
    (
      lambda: tf.ragged.constant([[[1], []]], dtype=tf.int64),
      r"'f': got ids of shape \(1, None, None\)",
    ),
    (
      lambda: tf.ragged.constant([[[1, 2]]], ragged_rank=1, dtype=tf.int64),
      r"'f': got ids of shape \(1, None, 2\)",
    ),
    (lambda: tf.sparse.from_dense([[1.0]]), "'f': got float32"),
    (lambda: tf.sparse.from_dense([1, 2]), "'f': got int32"),
    (
      lambda: tf.sparse.from_dense(tf.constant([1, 2], tf.int64)),
      r"'f': got int64 of shape \(2,\)",
    ),
  )
  def test_what_is_no_ids_is_refused(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      self._ids(make())

  def test_a_missing_feature_is_named_with_those_there(self):
    with self.assertRaisesRegex(ValueError, "'f' is not in the data.*yields age, uid"):
      feature.ids_of("f", {"uid": 0, "age": 1})
    with self.assertRaisesRegex(ValueError, "yields nothing"):
      feature.ids_of("f", {})


if __name__ == "__main__":
  absltest.main()
