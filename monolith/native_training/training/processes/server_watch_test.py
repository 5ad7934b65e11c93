import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.local_runner import local_cluster
from monolith.native_training.training.processes import (
  chief_words,
  coordination,
  server_watch,
)
from monolith.native_training.training.processes.chief_words import Word
from monolith.native_training.training.processes.closable_session import ClosableSession
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.session import session_config


class ServerWatchTest(absltest.TestCase):
  """A server and a worker in this process."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    worker, ps = (f"127.0.0.1:{port}" for port in local_cluster.free_ports(2))
    cls._cluster = Cluster(workers=(worker,), ps=(ps,))
    spec = cls._cluster.spec()
    cls._ps = tf.distribute.Server(spec, job_name="ps", task_index=0)
    cls._server = tf.distribute.Server(spec, job_name="worker", task_index=0)

  def _watch(self, timeout_secs: float) -> server_watch.ServerWatch:
    return server_watch.ServerWatch(self._cluster, self._server.target, timeout_secs)

  def _wait_for_ever(self, watch: server_watch.ServerWatch) -> None:
    """Waits on the server for what never comes, in the session that the watch has."""
    with tf.Graph().as_default() as graph, tf.device("/job:ps/task:0"):
      never = tf.queue.FIFOQueue(1, [tf.bool], [[]]).dequeue()
    config = session_config(self._cluster)
    with ClosableSession(self._server.target, graph=graph, config=config) as session:
      watch.closes(session)
      session.run(never)

  def test_a_step_may_take_as_long_as_it_likes(self):
    with self._watch(5.0) as watch:
      watch.wait_for_servers()
      time.sleep(8)
      watch.wait_for_servers()

  def test_a_server_that_does_not_answer_is_named(self):
    def never(cluster, server):
      with tf.device(cluster.ps_devices[server]):
        return tf.queue.FIFOQueue(1, [tf.bool], [[]]).dequeue().op

    with mock.patch.object(coordination, "question", never):
      watch = self._watch(1.0)
    wanted = r"^parameter server 0 \(127.0.0.1:\d+\) has not answered for 1 s"
    with self.assertRaisesRegex(TimeoutError, wanted):
      with watch:
        self._wait_for_ever(watch)

  def test_a_server_that_is_not_there_is_named(self):
    (port,) = local_cluster.free_ports(1)
    cluster = Cluster(workers=self._cluster.workers, ps=(f"127.0.0.1:{port}",))
    wanted = f"^parameter server 0 .*{port}. cannot be reached for 1 s: .*refused"
    with self.assertRaisesRegex(TimeoutError, wanted):
      with server_watch.ServerWatch(cluster, self._server.target, 1.0) as watch:
        watch.wait_for_servers()

  def test_servers_that_come_no_more_need_not_be_waited_for(self):
    with self._watch(60.0) as watch:
      self.assertTrue(watch.servers_come(lambda: False))
    (port,) = local_cluster.free_ports(1)
    cluster = Cluster(workers=self._cluster.workers, ps=(f"127.0.0.1:{port}",))
    with server_watch.ServerWatch(cluster, self._server.target, 60.0) as watch:
      is_over = mock.Mock(side_effect=[False, False, True])
      self.assertFalse(watch.servers_come(is_over))
      with self.assertRaisesRegex(SystemExit, "143"):
        watch.servers_come(lambda: False, mock.Mock(side_effect=SystemExit(143)))

  def test_who_is_asked_to_leave_while_a_server_is_away_tells_the_others(self):
    (port,) = local_cluster.free_ports(1)
    ps = (*self._cluster.ps, f"127.0.0.1:{port}")
    cluster = Cluster(workers=self._cluster.workers, ps=ps)
    with tf.Graph().as_default() as graph:
      queue = chief_words.queue(cluster.ps_devices[0])
      word, size = queue.dequeue(), queue.size()
    config = session_config(self._cluster)
    with ClosableSession(self._server.target, graph=graph, config=config) as session:

      def words() -> list[int]:
        return [session.run(word) for _ in range(session.run(size))]

      for error, last in ((SystemExit, Word.CHIEF_LEAVES), (ValueError, Word.GOES_ON)):
        words()

        def leave(error=error) -> None:
          if session.run(size):
            raise error

        with self.assertRaises(error):
          with server_watch.ServerWatch(cluster, self._server.target, 60.0) as watch:
            watch.wait_for_servers(leave)
        self.assertEqual(words()[-1], last)

  def test_time_in_which_this_process_stood_still_does_not_count(self):
    now = time.monotonic
    jump = 0.0
    with mock.patch.object(time, "monotonic", lambda: now() + jump):
      with self._watch(60.0) as watch:
        watch.wait_for_servers()
        jump = 3600.0
        time.sleep(1)
        watch.wait_for_servers()


if __name__ == "__main__":
  absltest.main()
