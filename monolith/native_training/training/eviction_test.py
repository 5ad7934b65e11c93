import threading
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry, feature
from monolith.native_training.embedding import plan
from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.training import eviction as eviction_module
from monolith.native_training.training.eviction import Eviction

_EXPIRE_DAYS = {"soon": 1e-9, "late": 36500.0}


class _SlowSession:
  """A session whose third run ends a while after an event."""

  def __init__(self, session: tf.compat.v1.Session, event: threading.Event):
    self._session = session
    self._event = event
    self.runs = 0
    self.is_running = False
    self.is_in_third_run = threading.Event()

  def run(self, *arguments):
    self.is_running = True
    self.runs += 1
    result = self._session.run(*arguments)
    if self.runs == 3:
      self.is_in_third_run.set()
      self._event.wait(60)
      time.sleep(0.5)
    self.is_running = False
    return result


class EvictionTest(absltest.TestCase):
  """Two tables on two servers, with 10 rows each."""

  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())
    ids = tf.expand_dims(tf.range(10, dtype=tf.int64), axis=1)
    servers = ["/device:CPU:0", "/device:CPU:1"]
    self._embedding = ShardedEmbedding(dict.fromkeys(_EXPIRE_DAYS, ids), servers)
    for name, days in _EXPIRE_DAYS.items():
      self._embedding.plan.add_feature(
        feature.FeatureColumn(name, name, feature.ReduceSum(), 0, days)
      )
      self._embedding.declare(
        name,
        plan.Segment(
          "vec",
          2,
          entry.ZerosInitializer(),
          entry.SgdOptimizer(1.0),
          entry.DEFAULT_COMPRESSOR,
          1.0,
        ),
      )
    self._embedding.build()
    slices = self._embedding.slices
    buffers = self._embedding.gradient_buffers([tf.ones_like(s) for s in slices])
    self._train = self._embedding.update(buffers, tf.constant(0, tf.int64))

  def _session(self) -> tf.compat.v1.Session:
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 2})
    return self.enter_context(tf.compat.v1.Session(config=config))

  def test_counts_by_table(self):
    eviction = Eviction(self._embedding)
    session = self._session()
    session.run(self._train)
    time.sleep(1.1)  # Rows' times are whole seconds.
    self.assertEqual(eviction.run(session), {"soon": 10, "late": 0})
    self.assertEqual(eviction.run(session), {"soon": 0, "late": 0})

  def test_evicts_beside_training_until_it_is_over(self):
    eviction = Eviction(self._embedding, every_hours=0.05 / 3600)
    session = self._session()
    session.run(self._train)
    done = []
    with eviction.beside_training(lambda: session):
      deadline = time.monotonic() + 30
      while sum(d["soon"] for d in done) < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
        done += eviction.take_done()
    self.assertEqual(sum(d["soon"] for d in done), 10)
    self.assertEqual(sum(d["late"] for d in done), 0)
    eviction.take_done()
    time.sleep(0.2)
    self.assertEqual(eviction.take_done(), [])

  def test_its_end_waits_for_a_part_and_leaves_the_rest(self):
    eviction = Eviction(self._embedding, every_hours=0.01 / 3600)
    session = self._session()
    session.run(self._train)
    time.sleep(1.1)  # Rows' times are whole seconds.
    over = threading.Event()
    events = mock.Mock(Thread=threading.Thread, Event=lambda: over)
    self.enter_context(mock.patch.object(eviction_module, "threading", events))
    slow = _SlowSession(session, over)
    with eviction.beside_training(lambda: slow):
      self.assertTrue(slow.is_in_third_run.wait(30))
    self.assertFalse(slow.is_running)
    self.assertEqual(slow.runs, 3)  # Of the 64 parts.
    # What went is told, and what did not is there.
    gone = sum(done["soon"] for done in eviction.take_done())
    self.assertEqual(eviction.run(session), {"soon": 10 - gone, "late": 0})
    session.close()

  def test_an_error_does_not_wait_for_a_server_that_hangs(self):
    eviction = Eviction(self._embedding, every_hours=0.01 / 3600)
    released = threading.Event()
    self.addCleanup(released.set)
    hanging = mock.Mock(run=lambda *_: released.wait())
    with (
      mock.patch.object(eviction_module, "_LEAVE_SECS", 0.1),
      self.assertRaisesRegex(ValueError, "of a step"),
      eviction.beside_training(lambda: hanging),
    ):
      raise ValueError("of a step")

  def test_a_lost_session_stops_it_only_for_that_time(self):
    eviction = Eviction(self._embedding, every_hours=0.05 / 3600)
    closed = tf.compat.v1.Session()
    closed.close()
    sessions = [closed, None, self._session()]
    with eviction.beside_training(
      lambda: sessions.pop(0) if len(sessions) > 1 else sessions[0]
    ):
      deadline = time.monotonic() + 30
      while not (done := eviction.take_done()) and time.monotonic() < deadline:
        time.sleep(0.05)
    self.assertEqual(done[0], {"soon": 0, "late": 0})

  def test_without_a_period_there_is_no_thread(self):
    eviction = Eviction(self._embedding, every_hours=0)
    with eviction.beside_training(lambda: self.fail("it ran")):
      time.sleep(0.1)
    self.assertEqual(eviction.take_done(), [])


if __name__ == "__main__":
  absltest.main()
