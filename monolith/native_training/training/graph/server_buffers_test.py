import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.local_runner.local_cluster import local_cluster
from monolith.native_training.training.graph.server_buffers import ServerBuffers
from monolith.native_training.training.processes.cluster import Cluster

_SERVERS = [f"/job:ps/task:{i}/device:CPU:0" for i in range(2)]
_VALUES = {
  "a": np.float32([1, 2]),
  "b": np.float32([[3, 4, 5], [6, 7, 8]]),
  "c": np.float32(9),
  "local": np.float32([10]),
}
_PLACES = {"a": _SERVERS[0], "b": _SERVERS[0], "c": _SERVERS[1], "local": None}


def _embedding(ids) -> ShardedEmbedding:
  embedding = ShardedEmbedding({"id": ids}, _SERVERS, shared_name="server_buffers_test")
  embedding.plan.add_feature(
    feature.FeatureColumn("id", "id", feature.ReduceSum(), 0, 36500)
  )
  segment = plan.Segment(
    "vec",
    2,
    entry.ConstantsInitializer(0.5),
    entry.SgdOptimizer(),
    entry.DEFAULT_COMPRESSOR,
    0.1,
  )
  embedding.declare("id", segment)
  embedding.build()
  return embedding


class ServerBuffersTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    clusters = [Cluster.from_config(t.tf_config) for t in local_cluster(2, 1)]
    cls._processes = [  # All in this one.
      tf.distribute.Server(c.spec(), c.task_type, c.task_index) for c in clusters
    ]
    cls._target = next(
      server.target
      for server, c in zip(cls._processes, clusters, strict=True)
      if c.task_type == "worker"
    )

  def setUp(self):
    super().setUp()
    graph = tf.Graph()
    self.enter_context(graph.as_default())
    self.enter_context(tf.device("/job:worker/task:0"))
    self.variables = {}
    for name, value in _VALUES.items():
      with tf.device(_PLACES[name]):
        self.variables[name] = tf.compat.v1.get_variable(
          name, initializer=value, use_resource=True
        )

  def _run(self, fetches):
    with tf.compat.v1.Session(self._target) as session:
      session.run(tf.compat.v1.global_variables_initializer())
      return session.run(fetches)

  def _packed(self, embedding) -> ServerBuffers:
    return ServerBuffers(embedding, list(self.variables.values()))

  def test_variables_go_to_the_buffer_of_their_server_and_others_to_none(self):
    packed = self._packed(ShardedEmbedding({}, _SERVERS))
    names = [[v.op.name for v in group] for group in packed.variables]
    self.assertEqual(names, [["a", "b"], ["c"]])

  def test_one_process_packs_nothing(self):
    packed = self._packed(ShardedEmbedding({}))
    self.assertEqual(packed.variables, [[]])
    buffer = tf.constant([1.0])
    self.assertIs(packed.join([[]], [buffer])[0], buffer)
    pairs, rows = packed.split([buffer])
    self.assertEmpty(pairs)
    self.assertIs(rows[0], buffer)

  def test_what_is_joined_is_split_again(self):
    packed = self._packed(ShardedEmbedding({}, _SERVERS))
    gradients = [
      [tf.constant(_VALUES[v.op.name] * 10) for v in group]
      for group in packed.variables
    ]
    rows = [tf.constant([0.25, 0.5]), tf.zeros([0])]
    buffers = packed.join(gradients, rows)
    pairs, rows_after = packed.split(buffers)
    self.assertEqual([v.op.name for _, v in pairs], ["a", "b", "c"])
    buffers, after, rows_after = self._run([buffers, [g for g, _ in pairs], rows_after])
    np.testing.assert_array_equal(
      buffers[0], [10, 20, 30, 40, 50, 60, 70, 80, 0.25, 0.5]
    )
    np.testing.assert_array_equal(buffers[1], [90])
    for (_, variable), gradient in zip(pairs, after, strict=True):
      np.testing.assert_array_equal(gradient, _VALUES[variable.op.name] * 10)
    np.testing.assert_array_equal(rows_after[0], [0.25, 0.5])
    self.assertEmpty(rows_after[1])

  def test_without_tables_there_are_no_rows(self):
    packed = self._packed(ShardedEmbedding({}, _SERVERS))
    gradients = [[tf.ones(v.shape) for v in group] for group in packed.variables]
    sizes = [b.shape.num_elements() for b in packed.join(gradients, [])]
    self.assertEqual(sizes, [8, 1])

  def test_readers_get_the_same_values_from_one_tensor_a_server(self):
    reads = {name: tf.identity(v) for name, v in self.variables.items()}
    embedding = _embedding(tf.constant([[1, 2, 3], [4, 5, 5]], tf.int64))
    (pooled,) = embedding.slices
    pooled = tf.identity(pooled)
    self._packed(embedding)
    values, pooled = self._run([reads, pooled])
    for name, value in values.items():
      np.testing.assert_array_equal(value, _VALUES[name])
    np.testing.assert_array_equal(pooled, np.full([2, 2], 1.5))
    for name, place in _PLACES.items():
      source = _source(reads[name])
      self.assertEqual(source.type == "ConcatV2", place is not None, name)


def _source(tensor: tf.Tensor) -> tf.Operation:
  """The op that made a tensor, reshaping and splitting left aside."""
  op = tensor.op
  while op.type in ("Identity", "Reshape", "Split", "SplitV", "StridedSlice"):
    op = op.inputs[1 if op.type == "Split" else 0].op
  return op


if __name__ == "__main__":
  absltest.main()
