import threading
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data.kafka import stream_ledger, stream_offsets
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_ledger import StreamLedger
from monolith.native_training.data.kafka.stream_offsets import BEGUN, Offsets, Partition
from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.positions.stream_positions import StreamPositions
from monolith.native_training.training.positions.timeline import Timeline
from monolith.native_training.training.processes.cluster import Cluster


def _at(offset: int) -> Offsets:
  return {Partition("g", "t", 0): offset}


class _Stream:
  """As far as positions need one."""

  group = "g"
  is_drained = False
  is_over = False

  def __init__(self):
    self.ledger = StreamLedger("g")

  def emit(self, *offsets: int) -> np.ndarray:
    zeros = np.zeros(len(offsets), np.int32)
    return self.ledger.emit(["t"], zeros, zeros, np.array(offsets))

  def begin(self, offsets: Offsets) -> None:
    self.ledger.begin(offsets)

  def begin_round(self, ended) -> None:
    del ended

  def check_workers(self, count: int) -> None:
    del count

  def trained(self) -> Offsets:
    return self.ledger.offsets()

  def commit(self, offsets: Offsets) -> None:
    del offsets

  def pass_ends(self) -> None:
    pass

  @property
  def rest(self) -> int:
    return self.ledger.open_count()


class StreamPositionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())
    self.stream = _Stream()
    tf.compat.v1.train.get_or_create_global_step()
    self.timeline = Timeline(Cluster())
    self.positions = StreamPositions(Cluster(), self.timeline, [self.stream])
    self.session = self.enter_context(tf.compat.v1.Session())
    self.session.run(tf.compat.v1.global_variables_initializer())
    self.timeline.begin(self.session)
    self.timeline.join(self.session)
    self.positions.begin(self.session)

  def _read(self) -> Offsets:
    return self.positions.read(self.session)

  def test_what_is_trained_on_is_written(self):
    at = self.stream.emit(0, 1, 2, 3)
    self.positions.step_done(self.session, at[:2])
    self.assertEqual(self._read(), _at(2))
    # Not with each step.
    self.positions.step_done(self.session, at[2:3])
    self.assertEqual(self._read(), _at(2))
    self.positions.write(self.session)
    self.assertEqual(self._read(), _at(3))
    # Bad messages behind the last step.
    stream_ledger.leave_out(at[3:])
    self.positions.write(self.session)
    self.assertEqual(self._read(), _at(4))

  def test_a_batch_that_is_not_trained_on_is_not_written(self):
    self.stream.emit(0, 1)
    self.positions.write(self.session)
    self.assertEqual(self._read(), {})

  def test_what_comes_after_the_model_went_back_does_not_count(self):
    at = self.stream.emit(0, 1, 2, 3)
    self.positions.step_done(self.session, at[:2])
    self.timeline.begin(self.session)
    self.positions.step_done(self.session, at[2:])
    self.positions.write(self.session)
    self.assertEqual(self._read(), _at(2))
    # What this worker had not written when it learnt of it.
    self.timeline.join(self.session)
    self.positions.begin(self.session)
    self.positions.step_done(self.session, at[2:])
    self.positions.write(self.session)
    self.assertEqual(self._read(), _at(2))
    self.positions.step_done(self.session, self.stream.emit(2))
    self.positions.write(self.session)
    self.assertEqual(self._read(), _at(3))

  def test_another_number_of_workers_has_what_all_had(self):
    # The last one came too late.
    value = [stream_offsets.encode(_at(n)) for n in (7, 9, 3, 900)]
    fitting = self.positions._fit(np.array(value, object))
    self.assertEqual([stream_offsets.decode(v) for v in fitting], [{}, _at(9), {}])

  def test_the_last_offsets_of_all_streams_are_committed_in_one_time(self):
    told = []

    def slow(offsets: Offsets, deadline: float, answer_by: float) -> None:
      told.append((offsets, deadline, answer_by))
      both.wait(30)
      raise StreamFailed("the brokers are away")

    both = threading.Barrier(2)
    streams = [self.stream, _Stream()]
    for stream in streams:
      stream.commit_last = slow
    self.positions.streams = streams
    self.positions.saved(_at(5))
    with self.assertLogs(level="WARNING") as logged:
      self.positions.commit_last()
    self.assertLen(logged.output, 2)
    self.assertIn(
      "could not be committed to the brokers (the brokers are away)", logged.output[0]
    )
    self.assertEqual(told[0], told[1])
    offsets, deadline, answer_by = told[0]
    self.assertEqual(offsets, _at(5))
    self.assertEqual(answer_by, deadline)

  def test_who_is_asked_to_leave_does_not_wait_long_for_brokers_that_are_away(self):
    self.stream.commit_last = mock.Mock()
    self.positions.commit_last(is_asked_to_leave=True)
    _, deadline, answer_by = self.stream.commit_last.call_args.args
    self.assertLess(answer_by, deadline - 5)

  def test_where_streams_go_on_is_told_where_they_do(self):
    with mock.patch.object(progress_log, "info") as info:
      self.positions.begin(self.session)
      self._begin_with({Partition("g", "t", BEGUN): 0, **_at(0)})
      info.assert_not_called()
      self._begin_with({Partition("g", "t", 1): 0, **_at(1200)})
      self.assertEqual(
        info.call_args.args[0] % info.call_args.args[1:],
        "the streams go on at t 0: 1,200",
      )

  def _begin_with(self, offsets: Offsets) -> None:
    encoded = stream_offsets.encode(offsets)
    self.session.run(self.positions._write_base, {self.positions._new_offsets: encoded})
    self.positions.begin(self.session)

  def test_a_rest_of_any_stream_is_a_rest_of_those_beside_it(self):
    """One that is zipped with others may be what they wait for on other workers."""
    streams = [self.stream, _Stream()]
    with tf.compat.v1.variable_scope("zipped"):
      positions = StreamPositions(Cluster(), self.timeline, streams, True)
    self.session.run(tf.compat.v1.global_variables_initializer())
    streams[1].is_drained = True
    self.assertTrue(positions.end_round(self.session))
    self.assertFalse(streams[1].holds_rest())
    at = self.stream.emit(0, 1, 2)
    self.assertTrue(streams[1].holds_rest())
    streams[1].is_over = True
    with self.assertLogs(level="WARNING") as logged:
      self.assertFalse(positions.end_round(self.session))
    self.assertIn("before 3 messages that this worker has read", logged.output[0])
    stream_ledger.take(at)
    self.assertFalse(streams[1].holds_rest())

  def test_a_name_of_one_member_is_refused_for_several(self):
    stream = KafkaStream("t", "g", "h:1", configuration=["group.instance.id=me"])
    stream.check_workers(1)
    cluster = Cluster(workers=("w:1", "w:2"), ps=("p:1",))
    with self.assertRaisesRegex(ValueError, "'group.instance.id' .* the 2 workers"):
      StreamPositions(cluster, self.timeline, [stream])

  def test_an_order_that_is_not_the_streams_is_an_error(self):
    at = self.stream.emit(0, 1)
    with self.assertRaisesRegex(ValueError, "must not shuffle"):
      self.positions.step_done(self.session, at[::-1])


if __name__ == "__main__":
  absltest.main()
