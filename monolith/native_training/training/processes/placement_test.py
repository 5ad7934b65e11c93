import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.processes import placement
from monolith.native_training.training.processes.cluster import Cluster


def _cluster(num_ps: int) -> Cluster:
  ps = tuple(f"ps{i}:1" for i in range(num_ps))
  return Cluster(workers=("w0:1", "w1:1"), ps=ps, task_type="worker", task_index=1)


class PlacementTest(absltest.TestCase):
  def _build(self, cluster: Cluster, *sizes: int) -> list[tf.Variable]:
    with tf.compat.v1.device(placement.device_setter(cluster)):
      variables = [
        tf.compat.v1.get_variable(f"v{i}", [size]) for i, size in enumerate(sizes)
      ]
      self._sum = tf.add_n([tf.reduce_sum(v) for v in variables])
    return variables

  def test_without_servers_nothing_is_placed(self):
    with tf.Graph().as_default():
      (variable,) = self._build(Cluster(), 3)
      self.assertEqual((variable.device, self._sum.device), ("", ""))

  def test_variables_are_on_servers_and_the_rest_on_the_worker(self):
    with tf.Graph().as_default():
      (variable,) = self._build(_cluster(1), 3)
      self.assertIn("/job:ps/task:0", variable.device)
      self.assertIn("/job:worker/task:1", self._sum.device)

  def test_servers_hold_about_the_same_number_of_bytes(self):
    with tf.Graph().as_default():
      sizes = (1000, 10, 10, 10, 500, 480, 10)
      variables = self._build(_cluster(2), *sizes)
      held = {}
      for variable, size in zip(variables, sizes, strict=True):
        held[variable.device] = held.get(variable.device, 0) + size
      self.assertLen(held, 2)
      self.assertLess(abs(held[variables[0].device] - sum(sizes) / 2), 50)

  def test_the_type_of_a_variable_counts(self):
    setter = placement.device_setter(_cluster(2))
    with tf.Graph().as_default(), tf.compat.v1.device(setter):
      wide = tf.compat.v1.get_variable("wide", [10], tf.float64)
      narrow = [tf.compat.v1.get_variable(f"n{i}", [10], tf.float32) for i in (0, 1)]
      self.assertEqual(narrow[0].device, narrow[1].device)
      self.assertNotEqual(wide.device, narrow[0].device)

  def test_every_worker_places_variables_alike(self):
    placed = []
    for index in (0, 1):
      cluster = Cluster(
        workers=("w0:1", "w1:1"), ps=("a:1", "b:1", "c:1"), task_index=index
      )
      with tf.Graph().as_default():
        variables = self._build(cluster, 5, 3, 9, 1, 4)
        placed.append([v.device for v in variables])
    self.assertEqual(placed[0], placed[1])


if __name__ == "__main__":
  absltest.main()
