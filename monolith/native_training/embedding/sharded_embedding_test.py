import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.runtime.ops import loader

_RATE = 0.1
_SERVERS = 3
_VOCABULARY = np.array([0, 1, -1, 2**63 - 1, -(2**63), 17, 2**40, 99, -5, 6], np.int64)


class _MaxOfThree(feature.Combiner):
  """A combiner of a user's own: the largest value of each position, of the first 3."""

  def combine(self, embeddings):
    dense = embeddings[:, :3].to_tensor(shape=[None, 3, embeddings.shape[-1]])
    return tf.reduce_max(dense, axis=1)


def _column(name, table=None, combiner=None) -> feature.FeatureColumn:
  return feature.FeatureColumn(
    name, table or name, combiner or feature.ReduceSum(), 0, 36500
  )


def _segment(name, dim, **settings) -> plan.Segment:
  optimizer = settings.pop("optimizer", entry.AdagradOptimizer(_RATE))
  defaults = dict(
    initializer=entry.DEFAULT_INITIALIZER,
    compressor=entry.DEFAULT_COMPRESSOR,
    learning_rate=optimizer.learning_rate,
  )
  return plan.Segment(name, dim, optimizer=optimizer, **defaults | settings)


def _session() -> tf.compat.v1.Session:
  """A session of several CPUs, each of which keeps tables of its own."""
  config = tf.compat.v1.ConfigProto(device_count={"CPU": _SERVERS})
  return tf.compat.v1.Session(config=config)


def _ragged(rows: list[list[int]]) -> tf.RaggedTensor:
  """Positions in the vocabulary as ids."""
  ids = [[int(_VOCABULARY[i]) for i in row] for row in rows]
  return tf.ragged.constant(ids, dtype=tf.int64, ragged_rank=1)


def _embedding(features, columns, servers=1, **settings) -> ShardedEmbedding:
  devices = [f"/device:CPU:{i}" for i in range(servers)]
  embedding = ShardedEmbedding(features, devices, **settings)
  for column in columns:
    embedding.plan.add_feature(column)
  return embedding


def _train_op(embedding: ShardedEmbedding, loss, step=0) -> tf.Operation:
  gradients = [
    tf.zeros_like(s) if g is None else tf.convert_to_tensor(g)
    for s, g in zip(embedding.slices, tf.gradients(loss, embedding.slices), strict=True)
  ]
  buffers = embedding.gradient_buffers(gradients)
  return tf.group(embedding.update(buffers, tf.constant(step, tf.int64)))


def _loss(slices: list[tf.Tensor]) -> tf.Tensor:
  """Something whose gradient differs by slice, position and value."""
  total = tf.constant(0.0)
  for i, value in enumerate(slices):
    weights = tf.cos(tf.cast(tf.range(tf.size(value)), tf.float32) + i)
    weighted = tf.reshape(weights, tf.shape(value)) * (value + tf.sin(value))
    total += tf.reduce_sum(weighted)
  return total


class _Oracle:
  """The same as plain variables, `tf.gather` and TensorFlow's Adagrad."""

  def __init__(self):
    self._variables = {}

  def slice(self, rows, column, segment, start) -> tf.Tensor:
    key = column.table, segment.name
    if key not in self._variables:
      self._variables[key] = tf.Variable(start)
    positions = tf.ragged.constant(rows, dtype=tf.int64, ragged_rank=1)
    found = tf.gather(self._variables[key], positions.values)
    embeddings = positions.with_values(found)
    combiner = column.combiner
    if isinstance(combiner, feature.FirstN):
      shape = [None, combiner.length, segment.dim]
      return embeddings[:, : combiner.length].to_tensor(shape=shape)
    if isinstance(combiner, feature.ReduceMean):
      count = tf.cast(positions.row_lengths()[:, None], tf.float32)
      return tf.math.divide_no_nan(tf.reduce_sum(embeddings, axis=1), count)
    if isinstance(combiner, feature.ReduceSum):
      return tf.reduce_sum(embeddings, axis=1)
    return combiner.combine(embeddings)

  def train_op(self, loss) -> tf.Operation:
    return tf.compat.v1.train.AdagradOptimizer(_RATE, 0.1).minimize(
      loss, var_list=list(self._variables.values())
    )


_COLUMNS = [
  _column("clicked", "item"),
  _column("bought", "item", feature.ReduceMean()),
  _column("recent", "item", feature.FirstN(2)),
  _column("user", "user"),
  _column("friends", "user", _MaxOfThree()),
  _column("nobody", "user", feature.ReduceMean()),
]
_ROWS = {
  "clicked": [[0, 1, 1, 4], [], [9], [2, 3]],
  "bought": [[5, 0], [5, 5, 5], [], [1]],
  "recent": [[1, 2, 3, 4], [7], [], [8, 8]],
  "user": [[0], [9], [4], [3]],
  "friends": [[1, 2, 3, 4], [], [9, 9], [5]],
  "nobody": [[], [], [], []],
}
_SLICES = [
  ("clicked", _segment("vec", 3)),
  ("clicked", _segment("bias", 1)),
  ("bought", _segment("vec", 3)),
  ("recent", _segment("deep", 5)),
  ("recent", _segment("vec", 3)),
  ("user", _segment("vec", 4)),
  ("friends", _segment("vec", 4)),
  ("nobody", _segment("vec", 4)),
]


class TrainingTest(parameterized.TestCase):
  def _train(self, servers: int, steps: int = 3):
    """Trains; returns initial rows, and pooled slices of every step."""
    with tf.Graph().as_default(), _session() as session:
      # Two features more read every row of the two tables, and are not trained.
      features = {name: _ragged(rows) for name, rows in _ROWS.items()}
      features["items"] = features["users"] = tf.constant(_VOCABULARY)
      columns = [*_COLUMNS, _column("items", "item"), _column("users", "user")]
      embedding = _embedding(features, columns, servers)
      slices = [embedding.declare(name, segment) for name, segment in _SLICES]
      rows = {}
      for table, reader in (("item", "items"), ("user", "users")):
        for segment in embedding.plan.table(table).segments.values():
          rows[table, segment.name] = embedding.declare(reader, segment)
      embedding.build()
      train = _train_op(embedding, _loss(slices))
      start = session.run(rows)
      pooled = []
      for _ in range(steps):
        pooled.append(session.run(slices))
        session.run(train)
      pooled.append(session.run(slices))
      return start, pooled

  @parameterized.parameters(1, 2, 3)
  def test_equals_plain_tensorflow(self, servers):
    start, pooled = self._train(servers)
    columns = {c.name: c for c in _COLUMNS}
    with tf.Graph().as_default(), _session() as session:
      oracle = _Oracle()
      slices = [
        oracle.slice(_ROWS[name], columns[name], s, start[columns[name].table, s.name])
        for name, s in _SLICES
      ]
      train = oracle.train_op(_loss(slices))
      session.run(tf.compat.v1.global_variables_initializer())
      for step, got in enumerate(pooled):
        wanted = session.run(slices)
        for (name, _), a, b in zip(_SLICES, got, wanted, strict=True):
          np.testing.assert_allclose(
            a, b, rtol=1e-5, atol=1e-6, err_msg=f"{name}, step {step}"
          )
        session.run(train)
    self.assertFalse(np.allclose(pooled[0][0], pooled[-1][0]), "nothing was learnt")

  def test_does_not_depend_on_the_number_of_servers(self):
    _, one = self._train(1)
    for servers in (2, 3):
      _, several = self._train(servers)
      for a, b in zip(one, several, strict=True):
        for x, y in zip(a, b, strict=True):
          np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-7)

  def test_every_server_holds_a_part(self):
    with tf.Graph().as_default(), _session() as session:
      ids = tf.range(3000, dtype=tf.int64)
      embedding = _embedding({"item": ids}, [_column("item")], 3)
      value = embedding.declare("item", _segment("vec", 2))
      embedding.build()
      session.run(_train_op(embedding, tf.reduce_sum(value)))
      held = []
      for device, handle in embedding.table_sets():
        with tf.device(device):
          stats = loader.ops().monolith_table_stats(handle)
        held.append(int(session.run(stats[0])[0]))
      self.assertEqual(sum(held), 3000)
      for rows in held:
        self.assertBetween(rows, 850, 1150)


class LookupTest(parameterized.TestCase):
  def _pooled(self, ids, combiner=None, dim=3, **settings):
    with tf.Graph().as_default(), _session() as session:
      made = ids() if callable(ids) else ids
      column = _column("item", combiner=combiner)
      embedding = _embedding({"item": made}, [column], 2, **settings)
      value = embedding.declare("item", _segment("vec", dim))
      embedding.build()
      return session.run(value)

  def test_ragged_sparse_and_dense_ids_are_the_same(self):
    rows = np.array([[5, 6], [7, 5]])
    ragged = self._pooled(lambda: tf.RaggedTensor.from_tensor(rows))
    np.testing.assert_array_equal(self._pooled(lambda: tf.constant(rows)), ragged)
    np.testing.assert_array_equal(
      self._pooled(lambda: tf.sparse.from_dense(rows)), ragged
    )
    single = self._pooled(lambda: tf.constant(rows[:, 0]))
    np.testing.assert_array_equal(
      single, self._pooled(lambda: tf.constant(rows[:, :1]))
    )

  @parameterized.parameters(
    (None, (0, 3)), (feature.ReduceMean(), (0, 3)), (feature.FirstN(2), (0, 2, 3))
  )
  def test_a_batch_of_nothing(self, combiner, shape):
    pooled = self._pooled(lambda: tf.zeros([0, 2], tf.int64), combiner)
    self.assertEqual(pooled.shape, shape)

  def test_examples_without_ids_are_zeros(self):
    for combiner in (feature.ReduceSum(), feature.ReduceMean(), feature.FirstN(2)):
      pooled = self._pooled(lambda: tf.ragged.constant([[], []], tf.int64), combiner)
      self.assertLen(pooled, 2)
      self.assertFalse(pooled.any())

  def test_unknown_ids_read_zeros_in_evaluation(self):
    pooled = self._pooled(lambda: tf.constant([1, 2], tf.int64), missing="zero")
    np.testing.assert_array_equal(pooled, np.zeros([2, 3]))
    pooled = self._pooled(lambda: tf.constant([1, 2], tf.int64), missing="initial")
    self.assertTrue(pooled.all())

  def test_declared_slices_have_their_static_shape(self):
    with tf.Graph().as_default():
      ids = tf.constant([[1, 2]], tf.int64)
      columns = [_column("a"), _column("b", combiner=feature.FirstN(4))]
      embedding = _embedding({"a": ids, "b": ids}, columns)
      a = embedding.declare("a", _segment("vec", 3))
      b = embedding.declare("b", _segment("vec", 3))
      self.assertEqual(a.shape.as_list(), [None, 3])
      self.assertEqual(b.shape.as_list(), [None, 4, 3])

  def test_a_slice_asked_for_twice_is_fetched_once(self):
    with tf.Graph().as_default():
      embedding = _embedding({"a": tf.constant([1], tf.int64)}, [_column("a")])
      first = embedding.declare("a", _segment("vec", 3))
      self.assertIs(embedding.declare("a", _segment("vec", 3)), first)
      self.assertLen(embedding.slices, 1)

  def test_a_model_without_embeddings(self):
    with tf.Graph().as_default():
      embedding = ShardedEmbedding({})
      embedding.build()
      self.assertEqual((embedding.slices, embedding.table_sets()), ([], []))
      self.assertEqual(embedding.gradient_buffers([]), [])


class UpdateTest(absltest.TestCase):
  def _one_step(
    self, segments: list[plan.Segment], loss_of, step=0
  ) -> list[np.ndarray]:
    """The slices of id 1 after one step whose loss is `loss_of(slices)`."""
    with tf.Graph().as_default(), _session() as session:
      embedding = _embedding({"a": tf.constant([1], tf.int64)}, [_column("a")], 2)
      slices = [embedding.declare("a", s) for s in segments]
      embedding.build()
      session.run(_train_op(embedding, loss_of(slices), step))
      return session.run(slices)

  def test_slices_of_a_row_learn_each_in_its_way(self):
    zeros = entry.ZerosInitializer()
    segments = [
      _segment("fixed", 2, initializer=zeros, optimizer=entry.SgdOptimizer(0.5)),
      _segment(
        "falling",
        1,
        initializer=zeros,
        optimizer=entry.SgdOptimizer(9.0),
        learning_rate=lambda step: 1.0 / (1.0 + tf.cast(step, tf.float32)),
      ),
      _segment(
        "adagrad",
        1,
        initializer=entry.ConstantsInitializer(1.0),
        optimizer=entry.AdagradOptimizer(0.1, 0.25),
      ),
    ]
    fixed, falling, adagrad = self._one_step(
      segments, lambda slices: sum(tf.reduce_sum(s) for s in slices), step=3
    )
    np.testing.assert_allclose(fixed, [[-0.5, -0.5]])
    np.testing.assert_allclose(falling, [[-0.25]])
    np.testing.assert_allclose(adagrad, [[1 - 0.1 / np.sqrt(1.25)]], rtol=1e-6)

  def test_a_slice_outside_the_loss_stays(self):
    constant = entry.ConstantsInitializer(1.0)
    segments = [_segment(name, 1, initializer=constant) for name in ("used", "unused")]
    used, unused = self._one_step(segments, lambda slices: tf.reduce_sum(slices[0]))
    self.assertNotEqual(used, 1)
    self.assertEqual(unused, 1)

  def test_a_gradient_that_is_not_finite_names_feature_and_example(self):
    with tf.Graph().as_default(), _session() as session:
      ids = tf.constant([10, 20, 30], tf.int64)
      embedding = _embedding({"item": ids}, [_column("item")], 2)
      value = embedding.declare("item", _segment("vec", 2))
      embedding.build()
      weights = tf.constant([[1.0, 1.0], [1.0, np.nan], [1.0, 1.0]])
      train = _train_op(embedding, tf.reduce_sum(value * weights))
      before = session.run(value)
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "item.*example.* 1"):
        session.run(train)
      np.testing.assert_array_equal(session.run(value), before)


class MisuseTest(absltest.TestCase):
  def test_declaring_after_the_graph_is_built(self):
    with tf.Graph().as_default():
      embedding = _embedding({"a": tf.constant([1], tf.int64)}, [_column("a")])
      embedding.build()
      with self.assertRaisesRegex(RuntimeError, "'vec' of feature 'a' was asked for"):
        embedding.declare("a", _segment("vec", 2))

  def test_a_feature_that_the_data_lack(self):
    with tf.Graph().as_default():
      embedding = _embedding({"b": tf.constant([1], tf.int64)}, [_column("a")])
      embedding.declare("a", _segment("vec", 2))
      with self.assertRaisesRegex(ValueError, "'a' is not in the data.* yields b"):
        embedding.build()

  def test_ids_that_are_none(self):
    with tf.Graph().as_default():
      embedding = _embedding({"a": tf.constant(["x"])}, [_column("a")])
      embedding.declare("a", _segment("vec", 2))
      with self.assertRaisesRegex(ValueError, "'a': got string"):
        embedding.build()

  def test_graphs_that_disagree_on_the_tables_they_share(self):
    with tf.Graph().as_default(), _session() as session:
      for dim in (2, 3):
        embedding = _embedding({"a": tf.constant([1], tf.int64)}, [_column("a")])
        value = embedding.declare("a", _segment("vec", dim))
        embedding.build()
        if dim == 2:
          session.run(value)
        else:
          with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "dim"):
            session.run(value)


if __name__ == "__main__":
  absltest.main()
