"""What one step does to dense variables and embeddings, on models whose gradients are
known: 3 for the dense weight and 4 for the embedding, a joint norm of 5."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.graph import model_graph, train_step
from monolith.native_training.training.graph.heads import EstimatorSpec

_WEIGHT = 2.0  # Initial values.
_EMBEDDING = 0.5


class _Model(MonolithModel):
  @classmethod
  def params(cls):
    p = super().params()
    p.define("scale", 1.0, "Of all gradients.")
    p.define("weight", True, "Whether there is a dense variable.")
    p.define("sparse_reads", False, "Whether the dense variable is read by position.")
    p.define("dense_type", tf.float32, "Of the dense variable.")
    p.define("dense_factor", 3.0, "Gradient of the dense variable.")
    return p

  def input_fn(self, mode):
    raise NotImplementedError

  def model_fn(self, features, mode):
    self.create_embedding_feature_column("id")
    (vec,) = self.lookup_embedding_slice(
      ["id"],
      "vec",
      1,
      optimizer=entry.SgdOptimizer(1.0),
      initializer=entry.ConstantsInitializer(_EMBEDDING),
    )
    loss = 4.0 * tf.reduce_sum(vec)
    if self.p.weight:
      weight = tf.compat.v1.get_variable(
        "weight",
        [2],
        self.p.dense_type,
        tf.constant_initializer(_WEIGHT),
        use_resource=True,
      )
      # The second number has no gradient.
      read = tf.gather(weight, [0]) if self.p.sparse_reads else weight * [1, 0]
      loss += self.p.dense_factor * tf.cast(tf.reduce_sum(read), tf.float32)
    return EstimatorSpec(
      label=None,
      pred=vec,
      loss=self.p.scale * loss,
      optimizer=tf.compat.v1.train.GradientDescentOptimizer(1.0),
    )


class _Trained:
  """A model in a session of its own.

  Attributes:
    weight: the dense variable's value, [2].
    embedding: that of the one id.
    step: the global step.
  """

  def __init__(self, name: str, **settings):
    params = _Model.params()
    params.name = name
    for key, value in settings.items():
      setattr(params, key, value)
    with tf.Graph().as_default():
      tf.compat.v1.train.get_or_create_global_step()
      features = {"id": tf.constant([[7]], tf.int64)}
      graph = model_graph.build(
        params.instantiate(), features, tf.estimator.ModeKeys.TRAIN
      )
      self._op, _ = train_step.train_op(params.instantiate(), graph)
      self._values = {
        "weight": [v.read_value() for v in tf.compat.v1.trainable_variables()],
        "embedding": graph.spec.pred,
        "step": tf.compat.v1.train.get_global_step().read_value(),
      }
      self._session = tf.compat.v1.Session()
      self._session.run(tf.compat.v1.global_variables_initializer())

  def step_once(self) -> "_Trained":
    self._session.run(self._op)
    return self

  def __getattr__(self, name: str):
    return np.squeeze(self._session.run(self._values[name]))


class ClippingTest(parameterized.TestCase):
  def _trained(self, **settings) -> _Trained:
    return _Trained(self.id(), **settings)

  @parameterized.product(sparse_reads=[False, True], scale=[1.0, 1e25])
  def test_a_large_norm_is_scaled_down(self, sparse_reads, scale):
    got = self._trained(clip_norm=0.5, sparse_reads=sparse_reads, scale=scale)
    got.step_once()
    np.testing.assert_allclose(got.weight, [_WEIGHT - 0.3, _WEIGHT], rtol=1e-6)
    np.testing.assert_allclose(got.embedding, _EMBEDDING - 0.4, rtol=1e-6)

  @parameterized.parameters(5.0, 1000.0, 0.0, None)
  def test_a_norm_within_the_limit_changes_nothing(self, clip_norm):
    got = self._trained(clip_norm=clip_norm).step_once()
    np.testing.assert_array_equal(got.weight, [_WEIGHT - 3, _WEIGHT])
    np.testing.assert_array_equal(got.embedding, np.float32(_EMBEDDING - 4))

  def test_a_norm_that_float32_cannot_hold_is_clipped(self):
    got = self._trained(clip_norm=1000.0, scale=1e25, weight=False).step_once()
    np.testing.assert_allclose(got.embedding, _EMBEDDING - 1000, rtol=1e-6)

  @parameterized.parameters(0.0, None)
  def test_nothing_fails_where_clipping_is_off(self, clip_norm):
    got = self._trained(clip_norm=clip_norm, scale=1e25, weight=False).step_once()
    np.testing.assert_allclose(got.embedding, -4e25, rtol=1e-6)

  def test_a_dense_variable_of_another_type_is_clipped_too(self):
    got = self._trained(clip_norm=0.5, dense_type=tf.float64).step_once()
    np.testing.assert_allclose(got.weight, [_WEIGHT - 0.3, _WEIGHT], rtol=1e-6)
    np.testing.assert_allclose(got.embedding, _EMBEDDING - 0.4, rtol=1e-6)

  @parameterized.product(clip_norm=[1.0, None], bad=["nan", "inf"])
  def test_what_is_not_finite_names_the_variable_and_changes_nothing(
    self, clip_norm, bad
  ):
    got = self._trained(clip_norm=clip_norm, dense_factor=float(bad))
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, "not finite of variable weight"
    ):
      got.step_once()
    np.testing.assert_array_equal(got.weight, [_WEIGHT, _WEIGHT])
    np.testing.assert_array_equal(got.embedding, np.float32(_EMBEDDING))
    self.assertEqual(got.step, 0)

  @parameterized.parameters(-1.0, float("nan"), float("inf"), "1", True)
  def test_a_limit_that_is_none_is_refused(self, clip_norm):
    with self.assertRaisesRegex(ValueError, "p.clip_norm: got .*, wanted a number"):
      self._trained(clip_norm=clip_norm)


class WeightDecayTest(parameterized.TestCase):
  @parameterized.parameters(False, True)
  def test_adds_a_part_of_each_dense_variable_to_its_gradient(self, sparse_reads):
    got = _Trained(self.id(), dense_weight_decay=0.25, sparse_reads=sparse_reads)
    weight = np.array([_WEIGHT, _WEIGHT])
    for _ in range(3):
      got.step_once()
      weight -= np.array([3.0, 0.0]) + 0.25 * weight
    np.testing.assert_allclose(got.weight, weight, rtol=1e-6)
    np.testing.assert_allclose(got.embedding, _EMBEDDING - 3 * 4, rtol=1e-6)

  def test_counts_in_the_norm(self):
    got = _Trained(self.id(), dense_weight_decay=1.0, clip_norm=0.5).step_once()
    gradient = np.array([3.0 + _WEIGHT, _WEIGHT, 4.0])
    gradient *= 0.5 / np.linalg.norm(gradient)
    np.testing.assert_allclose(got.weight, _WEIGHT - gradient[:2], rtol=1e-6)
    np.testing.assert_allclose(got.embedding, _EMBEDDING - gradient[2], rtol=1e-6)


class CountingTest(absltest.TestCase):
  def test_a_batch_counts_when_every_server_has_all_of_it(self):
    servers = [f"/job:ps/task:{i}/device:CPU:0" for i in range(3)]
    params = _Model.params()
    counts = []

    def count() -> list[tf.Operation]:
      counts.append(tf.no_op("count"))
      return counts

    with tf.Graph().as_default() as graph:
      with tf.device(servers[0]):
        step = tf.compat.v1.train.get_or_create_global_step()
      features = {"id": tf.constant([[7]], tf.int64)}
      mode = tf.estimator.ModeKeys.TRAIN
      with tf.device(servers[1]):
        built = model_graph.build(params.instantiate(), features, mode, servers)
      done, step_after = train_step.train_op(params.instantiate(), built, count)
    updates = [op for op in graph.get_operations() if op.type == "MonolithUpdate"]
    updates += [op for op in graph.get_operations() if op.type.startswith("Resource")]
    self.assertEqual(
      {op.device for op in updates if op.type.startswith("Monolith")}, set(servers)
    )
    (added,) = [
      op
      for op in graph.get_operations()
      if op.type == "AssignAddVariableOp" and op.inputs[0] is step.handle
    ]
    for counted in (added, *counts):
      self.assertContainsSubset(updates, _all_before(counted))
    self.assertContainsSubset([added, *counts], _all_before(done))
    self.assertIn(added, _all_before(step_after.op))


def _all_before(op: tf.Operation) -> set[tf.Operation]:
  """The ops that are done when an op begins."""
  found, ahead = set(), [op]
  while ahead:
    op = ahead.pop()
    for before in [*op.control_inputs, *(tensor.op for tensor in op.inputs)]:
      if before not in found:
        found.add(before)
        ahead.append(before)
  return found


if __name__ == "__main__":
  absltest.main()
