import itertools
import threading
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.local_runner import local_cluster
from monolith.native_training.training.processes import (
  chief_words,
  coordination,
  serving,
)
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.stop_request import StopRequest
from monolith.native_training.training.session import session_config


class CoordinationTest(absltest.TestCase):
  """Two servers and two workers, all in this process."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    addresses = [f"127.0.0.1:{port}" for port in local_cluster.free_ports(4)]
    cls._jobs = dict(workers=tuple(addresses[:2]), ps=tuple(addresses[2:]))
    spec = Cluster(**cls._jobs).spec()
    cls._servers = {
      (job, i): tf.distribute.Server(spec, job_name=job, task_index=i)
      for job in ("ps", "worker")
      for i in (0, 1)
    }

  def setUp(self):
    super().setUp()
    # Of a test's own: a server that has left listens on as long as its process lives.
    name = f"words of {self.id()}"
    self.enter_context(mock.patch.object(chief_words, "_NAME", name))

  def _cluster(self, job: str, index: int) -> Cluster:
    return Cluster(**self._jobs, task_type=job, task_index=index)

  def _worker(
    self, index: int, timeout_secs: float = 60, stop: StopRequest | None = None
  ):
    """A worker's reports and its session."""
    cluster = self._cluster("worker", index)
    with tf.Graph().as_default() as graph:
      reports = coordination.JobReports(cluster, timeout_secs, stop)
      session = tf.compat.v1.Session(
        self._servers["worker", index].target,
        graph=graph,
        config=session_config(cluster),
      )
    self.addCleanup(session.close)
    return reports, session

  def _serve(self, index: int) -> threading.Thread:
    """A parameter server that runs until it is released."""
    thread = threading.Thread(
      target=serving.serve_until_released,
      args=(self._cluster("ps", index), self._servers["ps", index].target, 60.0),
      daemon=True,
    )
    thread.start()
    return thread

  def test_a_job_from_first_report_to_the_servers_exit(self):
    chief, chief_session = self._worker(0)
    worker, worker_session = self._worker(1)
    servers = [self._serve(0), self._serve(1)]

    chief.report(chief_session, 100)
    worker.report(worker_session, 70)
    self.assertEqual(chief.job_examples(chief_session), 170)
    worker.report(worker_session, 90)
    self.assertEqual(chief.job_examples(chief_session), 190)
    self.assertEqual(chief.job_examples(chief_session), 190)

    chief.report(chief_session, 200, done=True)
    waiting = threading.Thread(
      target=chief.wait_for_workers, args=(chief_session,), daemon=True
    )
    waiting.start()
    waiting.join(1)
    self.assertTrue(waiting.is_alive(), "the chief did not wait for the worker")
    worker.report(worker_session, 120, done=True)
    waiting.join(30)
    self.assertFalse(waiting.is_alive(), "the chief waits for a worker that is done")
    self.assertEqual(chief.job_examples(chief_session), 320)

    self.assertTrue(all(server.is_alive() for server in servers))
    heard = []
    leaving = threading.Thread(
      target=lambda: heard.append(worker.wait_for_chief(worker_session, 120)),
      daemon=True,
    )
    leaving.start()
    leaving.join(1)
    self.assertTrue(leaving.is_alive(), "the worker did not wait for the chief")
    chief.end_job(chief_session)
    chief.release_servers(chief_session)
    for server in servers:
      server.join(30)
      self.assertFalse(server.is_alive(), "a server did not leave")
    leaving.join(30)
    self.assertEqual(heard, [True])

  def test_a_worker_says_again_that_it_is_done_to_a_chief_that_is_new(self):
    worker, worker_session = self._worker(1)
    chief, chief_session = self._worker(0)
    chief.job_examples(chief_session)
    still_done = threading.Event()
    still_done.set()
    heard = []
    # Of a job in whose end nobody believes yet: another test may have ended it.
    with mock.patch.object(worker, "is_saved", return_value=False):
      waiting = threading.Thread(
        target=lambda: heard.append(
          worker.wait_for_chief(worker_session, 7, still_done.is_set)
        ),
        daemon=True,
      )
      waiting.start()
      chief.report(chief_session, 0, done=True)
      self.assertTrue(chief.wait_for_workers(chief_session))
      self.assertEqual(chief.job_examples(chief_session), 7)
      still_done.clear()
      waiting.join(30)
    self.assertEqual(heard, [False])

  def test_who_was_done_before_training_went_back_is_waited_for(self):
    chief, session = self._worker(0)
    worker, worker_session = self._worker(1)
    chief.job_examples(session)
    with mock.patch.object(coordination, "_OUTDATED_SECS", 3600.0):
      chief.training_went_back()
    chief.report(session, 1, done=True)
    worker.report(worker_session, 1, done=True)  # Was on its way.
    check = mock.Mock(side_effect=[None, None, ValueError("still waiting")])
    with self.assertRaisesRegex(ValueError, "still waiting"):
      chief.wait_for_workers(session, check)
    chief._done_counts_from -= 3600.0
    chief.report(session, 1, done=True)
    worker.report(worker_session, 1, done=True)
    self.assertTrue(chief.wait_for_workers(session))

  def test_a_chief_does_not_wait_for_itself(self):
    chief, session = self._worker(0)
    worker, worker_session = self._worker(1)
    chief.job_examples(session)
    with mock.patch.object(coordination, "_OUTDATED_SECS", 1.0):
      chief.training_went_back()
    chief.report(session, 1, done=True)  # Too early to count.
    time.sleep(1.0)
    worker.report(worker_session, 1, done=True)
    check = mock.Mock(side_effect=[None] * 5 + [ValueError("still waiting")])
    self.assertTrue(chief.wait_for_workers(session, check))

  def test_a_chief_that_is_asked_to_leave_waits_no_longer(self):
    stop = StopRequest()
    chief, session = self._worker(0, stop=stop)
    stop.make()
    self.assertFalse(chief.wait_for_workers(session))

  def _serve_and_stop(self, grace_secs: float) -> tuple[threading.Thread, list]:
    """A server that is asked to leave, and its exit code, in a list, at its end."""
    stop = StopRequest()
    outcome = []
    cluster, target = self._cluster("ps", 1), self._servers["ps", 1].target

    def serve() -> None:
      try:
        serving.serve_until_released(cluster, target, 60.0, stop, grace_secs)
        outcome.append(0)
      except SystemExit as leaving:
        outcome.append(leaving.code)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    stop.make()
    return thread, outcome

  def test_a_server_that_is_asked_to_leave_waits_for_the_chief(self):
    chief, session = self._worker(0)
    server, outcome = self._serve_and_stop(grace_secs=60)
    server.join(1)
    self.assertTrue(server.is_alive(), "it did not wait")
    chief.say_leaving(session)
    server.join(20)
    self.assertEqual(outcome, [143])

  def test_a_server_that_is_asked_to_leave_at_the_end_leaves_well(self):
    chief, session = self._worker(0)
    server, outcome = self._serve_and_stop(grace_secs=60)
    chief.release_servers(session)
    server.join(20)
    self.assertEqual(outcome, [0])

  def test_a_server_that_is_asked_to_leave_has_the_chief_save(self):
    chief, session = self._worker(0)
    server, outcome = self._serve_and_stop(grace_secs=60)
    while not chief.has_leaving_servers:
      self.assertTrue(server.is_alive())
      chief.job_examples(session)
      time.sleep(0.05)
    leaving = chief.take_leaving_servers()
    self.assertEqual(leaving, {1})
    self.assertFalse(chief.has_leaving_servers)
    with chief.saving(session):
      server.join(1)
    self.assertTrue(server.is_alive(), "it did not wait")
    chief.let_leave(session, leaving)
    server.join(20)
    self.assertEqual(outcome, [143])

  def test_a_server_that_is_asked_to_leave_waits_for_a_save_that_runs(self):
    chief, session = self._worker(0)
    with session.graph.as_default():
      word = coordination.question(self._cluster("worker", 0), 1)
      waiting_words = chief_words.queue(self._cluster("ps", 1).ps_devices[1]).size()
    clock = mock.Mock(time, wraps=time)
    clock.monotonic.return_value = 1000.0
    self.enter_context(mock.patch.object(serving, "time", clock))
    with chief.saving(session):
      server, outcome = self._serve_and_stop(grace_secs=10)
      while not chief.has_leaving_servers:  # Its grace has begun by then.
        self.assertTrue(server.is_alive())
        chief.job_examples(session)
        time.sleep(0.05)
      for _ in range(6):
        session.run(word)
        while session.run(waiting_words):
          self.assertTrue(server.is_alive(), "it left a save behind")
          time.sleep(0.05)
        # Of a word that the server has taken the one before has been heard.
        clock.monotonic.return_value += 4
        server.join(0.5)
      self.assertTrue(server.is_alive(), "it left a save behind")
    for _ in range(100):
      clock.monotonic.return_value += 1
      server.join(0.2)
    self.assertEqual(outcome, [143])

  def test_a_server_does_not_wait_for_the_save_of_a_chief_that_is_dead(self):
    chief, session = self._worker(0)
    with chief.saving(session):
      server, outcome = self._serve_and_stop(grace_secs=1)
      server.join(20)
    self.assertEqual(outcome, [143])

  def _serve_while(self, *over: bool, next_chief_secs: float = 0.5) -> threading.Thread:
    """A server that finds, time after time, that the job is over or not."""
    self.enter_context(mock.patch.object(serving, "_LOOK_SECS", 0.0))
    self.enter_context(mock.patch.object(serving, "_NEXT_CHIEF_SECS", next_chief_secs))
    found = itertools.chain(over, itertools.repeat(over[-1]))
    cluster, target = self._cluster("ps", 1), self._servers["ps", 1].target
    server = threading.Thread(
      target=serving.serve_until_released,
      args=(cluster, target, 60.0),
      kwargs=dict(is_over=lambda: next(found)),
      daemon=True,
    )
    server.start()
    return server

  def test_a_server_that_has_missed_the_end_of_the_job_leaves(self):
    for over in ((False, True), (True, False, True)):
      server = self._serve_while(*over)
      server.join(20)
      self.assertFalse(server.is_alive())

  def test_a_server_waits_for_a_chief_that_trains_on(self):
    chief, session = self._worker(0)
    for over in ((True,), (False, True, False)):
      server = self._serve_while(*over)
      server.join(2)
      self.assertTrue(server.is_alive())
      chief.release_servers(session)
      server.join(20)
      self.assertFalse(server.is_alive())

  def test_a_server_that_hears_the_chief_waits_for_its_word(self):
    chief, session = self._worker(0)
    with chief.saving(session):
      server = self._serve_while(False, True, next_chief_secs=8.0)
      server.join(10)
      self.assertTrue(server.is_alive())
    chief.release_servers(session)
    server.join(20)
    self.assertFalse(server.is_alive())

  def test_servers_leave_though_another_is_gone(self):
    chief, _ = self._worker(0)
    told = []

    def run(word, feed, options) -> None:
      del feed, options
      if word.device.startswith("/job:ps/task:0"):
        raise tf.errors.UnavailableError(None, None, "gone")
      told.append(word.device)

    chief.release_servers(mock.Mock(run=run))
    self.assertLen(told, 1)
    self.assertStartsWith(told[0], "/job:ps/task:1")

  def test_a_silent_worker_is_given_up(self):
    chief, session = self._worker(0, timeout_secs=1)
    chief.job_examples(session)
    chief.report(session, 10, done=True)
    with self.assertLogs("absl", "WARNING") as logs:
      chief.wait_for_workers(session)
    self.assertIn("worker 1 has sent nothing for 1 s", logs.output[0])
    self.assertEqual(chief.failures(), ["worker 1 has sent nothing for 1 s"])
    with mock.patch.object(coordination, "_COMES_BACK_SECS", 0.1):
      chief.wait_for_workers(session)  # Again, as after a server was lost.
    worker, worker_session = self._worker(1)
    worker.report(worker_session, 5, done=True)
    chief.job_examples(session)
    self.assertEmpty(chief.failures())

  def test_a_silent_worker_that_leaves_nothing_has_not_failed(self):
    chief, session = self._worker(0, timeout_secs=1)
    chief.report(session, 10, done=True)
    with self.assertLogs("absl", "WARNING"):
      chief.wait_for_workers(session, is_work_left=lambda: False)
    self.assertEmpty(chief.failures())

  def test_a_worker_that_restarts_counts_again(self):
    chief, chief_session = self._worker(0)
    worker, worker_session = self._worker(1)
    chief.job_examples(chief_session)
    worker.report(worker_session, 500, done=True)
    self.assertEqual(chief.job_examples(chief_session), 500)
    restarted, restarted_session = self._worker(1)
    restarted.report(restarted_session, 3)
    self.assertEqual(chief.job_examples(chief_session), 3)
    restarted.report(restarted_session, 5, done=True)
    chief.report(chief_session, 0, done=True)
    chief.wait_for_workers(chief_session)

  def _fail(self) -> None:
    cluster = self._cluster("worker", 1)
    target = self._servers["worker", 1].target
    coordination.report_failure(cluster, target, ValueError("no such data"))

  def test_a_worker_that_fails_is_not_waited_for_long(self):
    chief, session = self._worker(0)
    chief.job_examples(session)
    self._fail()
    chief.report(session, 10, done=True)
    with mock.patch.object(coordination, "_COMES_BACK_SECS", 1.0):
      chief.wait_for_workers(session)
    self.assertEqual(chief.failures(), ["worker 1 failed: ValueError: no such data"])

    restarted, restarted_session = self._worker(1)
    restarted.report(restarted_session, 5, done=True)
    self.assertEqual(chief.job_examples(session), 15)
    self.assertEmpty(chief.failures())

  def test_a_worker_that_fails_is_waited_for_until_it_comes_back(self):
    chief, session = self._worker(0)
    chief.job_examples(session)
    chief.report(session, 10, done=True)
    restarted, restarted_session = self._worker(1)
    looks = 0

    def check() -> None:
      nonlocal looks
      looks += 1
      if looks == 1:
        self._fail()
      if looks == 5:
        self.assertLen(chief.failures(), 1)
        restarted.report(restarted_session, 3)
      if looks == 10:
        restarted.report(restarted_session, 5, done=True)

    self.assertTrue(chief.wait_for_workers(session, check))
    self.assertGreaterEqual(looks, 10)
    self.assertEmpty(chief.failures())

  def test_reports_do_not_pile_up(self):
    with mock.patch.object(coordination, "_CAPACITY", 10):
      # A queue of its own: those of the other tests are there already.
      with mock.patch.object(coordination, "_REPORTS", "few_reports"):
        chief, chief_session = self._worker(0)
        worker, worker_session = self._worker(1)
    done = threading.Event()

    def report() -> None:
      for i in range(40):
        worker.report(worker_session, i)
        chief.report(chief_session, i)
      done.set()

    threading.Thread(target=report, daemon=True).start()
    self.assertTrue(done.wait(30), "a report waits for room for ever")
    self.assertEqual(chief.job_examples(chief_session), 39 + 39)


if __name__ == "__main__":
  absltest.main()
