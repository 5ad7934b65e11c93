import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader

ops = loader.ops()

InvalidArgument = tf.errors.InvalidArgumentError
NAN = float("nan")
INF = float("inf")
SHARD = 1 << 48


def outputs(*slices, names=None):
  """Attributes of slices (feature, offset, dim, combiner, length)."""
  columns = [list(column) for column in zip(*slices, strict=True)]
  attributes = {
    "feature_of_output": columns[0],
    "offset_of_output": columns[1],
    "dim_of_output": columns[2],
    "combiner_of_output": columns[3],
    "length_of_output": columns[4],
  }
  if names is not None:
    attributes["output_names"] = names
  return attributes


def tensors(arrays, dtype):
  return [np.asarray(array, dtype) for array in arrays]


def pool(values, index, row_splits, requests=(), **attributes):
  num_outputs = len(attributes["feature_of_output"])
  return ops.monolith_pool(
    values=tensors(values, np.float32),
    index=np.asarray(index, np.int64),
    row_splits=tensors(row_splits, np.int64),
    requests=tensors(requests, np.int64),
    num_outputs=num_outputs,
    **attributes,
  )


def pool_grad(gradients, requests, index, row_splits, **attributes):
  attributes.setdefault("table_dims", [2])
  attributes.setdefault("feature_names", [f"f{i}" for i in range(len(row_splits))])
  attributes.setdefault("output_names", [f"o{i}" for i in range(len(gradients))])
  return ops.monolith_pool_grad(
    gradients=tensors(gradients, np.float32),
    requests=tensors(requests, np.int64),
    index=np.asarray(index, np.int64),
    row_splits=tensors(row_splits, np.int64),
    **attributes,
  )


class PoolTest(tf.test.TestCase, parameterized.TestCase):
  # One feature with rows of dim 3 on two shards.
  values = [[1, 2, 3, 10, 20, 30], [5, 6, 7]]
  index = [0, SHARD, 3]
  splits = [[0, 2, 2, 3]]

  def test_every_combiner(self):
    sums, means, first, none = pool(
      self.values,
      self.index,
      self.splits,
      **outputs(
        (0, 0, 3, "sum", 0),
        (0, 1, 2, "mean", 0),
        (0, 2, 1, "first_n", 3),
        (0, 0, 1, "none", 0),
      ),
    )
    self.assertAllEqual(sums, [[6, 8, 10], [0, 0, 0], [10, 20, 30]])
    self.assertAllEqual(means, [[4, 5], [0, 0], [20, 30]])
    self.assertAllEqual(first, [[[3], [7], [0]], [[0], [0], [0]], [[30], [0], [0]]])
    self.assertAllEqual(none, [[1], [5], [10]])

  def test_empty_batch_and_empty_feature(self):
    (pooled,) = pool([[]], [], [[0]], **outputs((0, 0, 3, "sum", 0)))
    self.assertEqual(pooled.shape, [0, 3])
    pooled = pool(
      [[]],
      [],
      [[0, 0, 0]],
      **outputs((0, 0, 3, "mean", 0), (0, 0, 3, "first_n", 2), (0, 0, 3, "none", 0)),
    )
    self.assertAllEqual(pooled[0], np.zeros([2, 3]))
    self.assertAllEqual(pooled[1], np.zeros([2, 2, 3]))
    self.assertEqual(pooled[2].shape, [0, 3])

  def test_large_batch_equals_tensorflow(self):
    random = np.random.default_rng(3)
    dim, rows, batch = 32, 5000, 20_000
    splits = np.concatenate([[0], np.cumsum(random.integers(0, 6, batch))])
    positions = random.integers(0, rows, splits[-1])
    table = random.normal(size=(rows, dim)).astype(np.float32)
    sums, means = pool(
      [table.flatten()],
      positions * dim,
      [splits],
      **outputs((0, 0, dim, "sum", 0), (0, 0, dim, "mean", 0)),
    )
    ragged = tf.RaggedTensor.from_row_splits(tf.gather(table, positions), splits)
    self.assertAllClose(sums, tf.reduce_sum(ragged, 1), rtol=1e-5, atol=1e-5)
    wanted = tf.math.divide_no_nan(
      tf.reduce_sum(ragged, 1),
      tf.cast(ragged.row_lengths(), tf.float32)[:, tf.newaxis],
    )
    self.assertAllClose(means, wanted, rtol=1e-5, atol=1e-5)

  def test_gradient_of_large_batch_equals_tensorflow(self):
    random = np.random.default_rng(4)
    dim, rows, batch = 32, 3000, 20_000
    splits = np.concatenate([[0], np.cumsum(random.integers(0, 4, batch))])
    positions = random.integers(0, rows, splits[-1])
    gradient = random.normal(size=(batch, dim)).astype(np.float32)
    (got,) = pool_grad(
      [gradient],
      [[rows, *range(rows)]],
      positions * dim,
      [splits],
      table_dims=[dim],
      **outputs((0, 0, dim, "sum", 0)),
    )
    wanted = tf.math.unsorted_segment_sum(
      np.repeat(gradient, np.diff(splits), axis=0), positions, rows
    )
    self.assertAllClose(tf.reshape(got, [rows, dim]), wanted, rtol=1e-4, atol=1e-4)

  def test_gradient_of_every_combiner(self):
    gradients = pool_grad(
      [
        [[1, 2], [NAN, NAN], [3, 4]],
        [[10], [0], [20]],
        [[[100], [200]], [[INF], [0]], [[300], [NAN]]],
        [[1000], [2000], [3000]],
      ],
      [[2, 7, 8], [1, 9]],
      [0, SHARD, 2],
      self.splits,
      **outputs(
        (0, 0, 2, "sum", 0),
        (0, 0, 1, "mean", 0),
        (0, 1, 1, "first_n", 2),
        (0, 0, 1, "none", 0),
      ),
    )
    self.assertAllEqual(gradients[0], [1 + 5 + 1000, 2 + 100, 3 + 20 + 3000, 4 + 300])
    self.assertAllEqual(gradients[1], [1 + 5 + 2000, 2 + 200])

  def test_rows_of_no_slice_get_zero(self):
    (got,) = pool_grad(
      [[[5]]],
      [[2, 7, 8]],
      [2],
      [[0, 1]],
      **outputs((0, 1, 1, "sum", 0)),
    )
    self.assertAllEqual(got, [0, 0, 0, 5])

  def test_static_shapes(self):
    with tf.Graph().as_default():
      splits = tf.compat.v1.placeholder(tf.int64, [65])
      slices = outputs(
        (0, 0, 4, "sum", 0), (0, 0, 4, "first_n", 3), (0, 0, 4, "none", 0)
      )
      pooled = ops.monolith_pool(
        values=[[0.0]],
        index=[0],
        row_splits=[splits],
        requests=[],
        num_outputs=3,
        **slices,
      )
      self.assertEqual(
        [p.shape.as_list() for p in pooled], [[64, 4], [64, 3, 4], [None, 4]]
      )
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        pool([[[1.0]]], [0], [[0, 1]], **outputs((0, 0, 1, "sum", 0)))

  @parameterized.parameters(
    (2 * SHARD, "shard 2"),
    (6, "shard 0, float 6"),
    (4, "shard 0, float 4"),
    (SHARD + 1, "shard 1, float 1"),
    (-1, "shard -1"),
    (-(2**63), "shard -32768"),
    (2**63 - 1, "shard 32767"),
  )
  def test_index_outside_the_values(self, entry, message):
    index = [0, entry, 3]
    for combiner in ("sum", "mean", "first_n", "none"):
      with self.assertRaisesRegex(
        InvalidArgument, f"index entry 1 of feature 0 points outside.*{message}"
      ):
        pool(self.values, index, self.splits, **outputs((0, 0, 3, combiner, 2)))
    with self.assertRaisesRegex(InvalidArgument, "index entry 1 of feature 0"):
      pool_grad(
        [np.zeros([3, 3])],
        [[2, 7, 8], [1, 9]],
        index,
        self.splits,
        table_dims=[3],
        **outputs((0, 0, 3, "sum", 0)),
      )

  def test_values_are_as_many_as_the_request_wants(self):
    slices = {**outputs((0, 0, 3, "sum", 0)), "table_dims": [3]}
    requests = [[2, 7, 8], [1 + 2**62, 9, 1]]  # the second with occurrences
    (sums,) = pool(self.values, self.index, self.splits, requests, **slices)
    self.assertAllEqual(sums, [[6, 8, 10], [0, 0, 0], [10, 20, 30]])
    for s, size in ((0, 5), (0, 7), (0, 0), (1, 2), (1, 4)):
      values = list(self.values)
      values[s] = np.resize(values[s], size)
      with self.assertRaisesRegex(
        InvalidArgument,
        rf"values\[{s}\] has the wrong size: got {size}, wanted {6 - 3 * s}, ",
      ):
        pool(values, self.index, self.splits, requests, **slices)
    with self.assertRaisesRegex(InvalidArgument, r"values\[0\].* got 1, wanted 0, "):
      pool([[1]], [], [[0]], [[0]], **slices)

  @parameterized.parameters(
    ([[2, 7, 8]], [3], "requests has the wrong size: got 1, wanted 2, one per shard"),
    ([[2, 7], [1, 9]], [3], "counts must add up"),
    ([[2, 7, 8], [[1, 9]]], [3], r"requests\[1\] must be a vector"),
    ([[2, 7, 8], [1, 9]], [0], r"table_dims\[0\] must be in"),
    ([[2, 7, 8], [1, 9]], [], "counts add up to 0"),
  )
  def test_bad_requests(self, requests, table_dims, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      pool(
        self.values,
        self.index,
        self.splits,
        requests,
        table_dims=table_dims,
        **outputs((0, 0, 3, "sum", 0)),
      )

  @parameterized.parameters(
    ([[0, 2]], "index has the wrong size: got 3, wanted 2"),
    ([[0, 4]], "ends at 4, but index has 3 entries left"),
    ([[]], "must have batch size"),
    ([[1, 3]], "must start at 0"),
    ([[0, 2, 1, 3]], "must not fall"),
    ([[0, -5]], "must not fall"),
    ([[[0, 3]]], "must be a vector"),
  )
  def test_bad_row_splits(self, splits, message):
    slices = outputs((0, 0, 3, "sum", 0))
    with self.assertRaisesRegex(InvalidArgument, message):
      pool(self.values, self.index, splits, **slices)
    with self.assertRaisesRegex(InvalidArgument, message):
      pool_grad(
        [np.zeros([3, 3])],
        [[2, 7, 8], [1, 9]],
        self.index,
        splits,
        table_dims=[3],
        feature_names=["mov"],
        **slices,
      )

  def test_wrong_ranks(self):
    slices = outputs((0, 0, 3, "sum", 0))
    with self.assertRaisesRegex(InvalidArgument, r"values\[1\] must be a vector"):
      pool([self.values[0], [[5, 6, 7]]], self.index, self.splits, **slices)
    with self.assertRaisesRegex(InvalidArgument, "index must be a vector"):
      pool(self.values, [self.index], self.splits, **slices)

  @parameterized.parameters(
    ({"feature_of_output": [1]}, "feature must be in 0 .. 0, got 1"),
    ({"feature_of_output": [-1]}, "feature must be in 0 .. 0, got -1"),
    ({"offset_of_output": [-1]}, "offset must be in"),
    ({"offset_of_output": [2**62]}, "offset must be in"),
    ({"dim_of_output": [0]}, "dim must be in"),
    ({"dim_of_output": [2**62]}, "dim must be in"),
    ({"combiner_of_output": ["max"]}, "combiner must be one of .* got 'max'"),
    ({"combiner_of_output": ["first_n"]}, "length of first_n must be in"),
    ({"dim_of_output": [1, 1]}, "dim_of_output has the wrong size: got 2, wanted 1"),
    ({"offset_of_output": []}, "offset_of_output has the wrong size: got 0, wanted 1"),
    ({"combiner_of_output": []}, "combiner_of_output has the wrong size"),
    ({"length_of_output": []}, "length_of_output has the wrong size"),
  )
  def test_bad_attributes(self, wrong, message):
    attributes = {**outputs((0, 0, 3, "sum", 0)), **wrong}
    with self.assertRaisesRegex(InvalidArgument, message):
      pool([[1]], [0], [[0, 1]], **attributes)
    with self.assertRaisesRegex(InvalidArgument, message):
      pool_grad([[[1, 1, 1]]], [[1, 7]], [0], [[0, 1]], **attributes)

  def test_huge_output_is_refused(self):
    with self.assertRaisesRegex(InvalidArgument, "output 0 is too large"):
      pool(
        [[1]],
        [0],
        [[0] * 10_000 + [1]],
        **outputs((0, 0, 2**30, "first_n", 2**30)),
      )


class PoolGradInputsTest(tf.test.TestCase, parameterized.TestCase):
  def grad(self, gradient, request=(1, 7), **attributes):
    return pool_grad(
      [gradient],
      [request],
      [0, 0],
      [[0, 1, 2]],
      **{**outputs((0, 0, 2, "sum", 0), names=["mov/vec"]), **attributes},
    )

  @parameterized.parameters(([2, 3],), ([3, 2],), ([2],), ([2, 2, 1],), ([4],))
  def test_wrong_width(self, *shape):
    with self.assertRaisesRegex(
      InvalidArgument, r"gradient of mov/vec has the wrong shape: got .*wanted \[2,2\]"
    ):
      self.grad(np.zeros(*shape))

  @parameterized.parameters(NAN, INF, -INF)
  def test_not_finite(self, bad):
    with self.assertRaisesRegex(
      InvalidArgument, "gradient of mov/vec is not finite.*example 1, position 0"
    ):
      self.grad([[1, 2], [bad, 4]])

  @parameterized.parameters(
    ([], "must start with one count per table"),
    ([-1], "count of table 0 is -1"),
    ([2, 7], "counts must add up"),
    ([[1, 7]], r"requests\[0\] must be a vector"),
    ([0], "points outside the value buffers"),
  )
  def test_bad_request(self, request, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      self.grad(np.zeros([2, 2]), request)

  @parameterized.parameters(
    ({"table_dims": [0]}, r"table_dims\[0\] must be in"),
    ({"table_dims": [2, 2]}, "must start with one count per table|counts must add up"),
    ({"feature_names": []}, "feature_names has the wrong size"),
    ({"output_names": ["a", "b"]}, "output_names has the wrong size"),
  )
  def test_bad_attributes(self, wrong, message):
    with self.assertRaisesRegex(InvalidArgument, message):
      self.grad(np.zeros([2, 2]), **wrong)


if __name__ == "__main__":
  tf.test.main()
