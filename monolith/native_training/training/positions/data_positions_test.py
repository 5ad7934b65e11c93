import os

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints.dense_variables import DenseVariables
from monolith.native_training.training.positions.data_positions import DataPositions
from monolith.native_training.training.positions.timeline import Timeline
from monolith.native_training.training.processes.cluster import Cluster


def _worker(index: int, num_workers: int = 3) -> Cluster:
  workers = tuple(f"w{i}:1" for i in range(num_workers))
  return Cluster(workers=workers, ps=("p:1",), task_index=index)


class _Model:
  """A graph with the positions that a worker sees, and a session."""

  def __init__(self, cluster: Cluster):
    self.session = tf.compat.v1.Session(graph=tf.Graph())
    with self.session.graph.as_default():
      tf.compat.v1.train.get_or_create_global_step()
      tf.compat.v1.get_variable("v", initializer=1.0, use_resource=True)
      self.timeline = Timeline(cluster)
      self.positions = DataPositions(cluster, self.timeline)
      self._count = self.positions.count_batch(self.timeline.is_present())
      self.dense = DenseVariables()
      init = tf.compat.v1.global_variables_initializer()
    self.session.run(init)
    self.timeline.begin(self.session)
    self.timeline.join(self.session)
    self.positions.begin(self.session)

  def count(self, batches: int) -> None:
    for _ in range(batches):
      self.session.run(self._count)


class DataPositionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._path = os.path.join(self.create_tempdir().full_path, "model.ckpt-1")

  def _restored(self, cluster: Cluster) -> _Model:
    model = _Model(cluster)
    model.count(100)
    model.dense.restore(model.session, self._path)
    return model

  def test_each_worker_counts_its_own(self):
    model = _Model(_worker(1))
    self.assertEqual(model.positions.begin(model.session), {model.positions.skip: 0})
    model.count(2)
    model.positions.step_done()
    self.assertEqual(model.positions.current, 1)
    self.assertEqual(model.positions.read(model.session), 2)
    # A new session asks the server.
    self.assertEqual(model.positions.begin(model.session), {model.positions.skip: 2})
    self.assertEqual(model.positions.current, 2)
    model.dense.save(model.session, self._path)
    for index, position in ((0, 0), (1, 2), (2, 0)):
      restored = self._restored(_worker(index))
      self.assertEqual(restored.positions.read(restored.session), position)

  def test_a_step_from_before_a_restore_counts_nothing(self):
    model = _Model(_worker(1))
    model.count(2)
    model.timeline.begin(model.session)
    model.count(1)
    self.assertEqual(model.positions.read(model.session), 2)
    model.timeline.join(model.session)
    model.count(1)
    self.assertEqual(model.positions.read(model.session), 3)

  def test_can_be_reset(self):
    model = _Model(_worker(0))
    model.count(2)
    model.positions.reset(model.session)
    self.assertEqual(model.positions.read(model.session), 0)

  def test_another_number_of_workers_begins_anew(self):
    model = _Model(_worker(1))
    model.count(2)
    model.dense.save(model.session, self._path)
    with self.assertLogs("absl", "INFO") as logs:
      restored = self._restored(_worker(1, num_workers=4))
    self.assertRegex(
      logs.output[0], r"begins anew: it has shape \[3\] in .*ckpt-1 and \[4\] in this"
    )
    self.assertEqual(restored.positions.read(restored.session), 0)

  def test_a_checkpoint_without_them_is_restored(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      tf.compat.v1.train.get_or_create_global_step()
      variable = tf.compat.v1.get_variable("v", initializer=5.0, use_resource=True)
      dense = DenseVariables()
      session.run(tf.compat.v1.global_variables_initializer())
      dense.save(session, self._path)
    restored = self._restored(_worker(1))
    self.assertEqual(restored.positions.read(restored.session), 0)
    with restored.session.graph.as_default():
      (variable,) = [v for v in tf.compat.v1.global_variables() if v.op.name == "v"]
    self.assertEqual(restored.session.run(variable), 5.0)

  def test_another_models_are_not_taken(self):
    model = _Model(_worker(1))
    model.count(2)
    model.dense.save(model.session, self._path)
    other = _Model(_worker(1))
    self.assertEqual(other.dense.take_matching(other.session, self._path), 1)
    self.assertEqual(other.positions.read(other.session), 0)


if __name__ == "__main__":
  absltest.main()
