import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data import stream_offsets
from monolith.native_training.data.stream_offsets import Offsets, Partition
from monolith.native_training.training.cluster import Cluster
from monolith.native_training.training.stream_positions import StreamPositions
from monolith.native_training.training.timeline import Timeline


def _at(offset: int) -> Offsets:
  return {Partition("g", "t", 0): offset}


class _Stream:
  """As far as positions need one; takes a batch of one message with each step."""

  def __init__(self):
    self.taken = 0

  def begin(self, offsets: Offsets) -> None:
    self.taken = max(offsets.values(), default=0)

  def begin_round(self, ended) -> None:
    del ended

  def trained(self) -> Offsets:
    return _at(self.taken)


class _Loss(tf.compat.v1.train.SessionRunHook):
  """Of a server, before a step."""

  is_due = False

  def before_run(self, run_context):
    del run_context
    if self.is_due:
      self.is_due = False
      raise tf.errors.AbortedError(None, None, "a server was lost")


class StreamPositionsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(tf.Graph().as_default())
    self.stream = _Stream()
    self.is_half_done = False
    self.goes_back_to: Offsets = {}
    step = tf.compat.v1.train.get_or_create_global_step()
    self.timeline = Timeline(Cluster())
    self.positions = StreamPositions(Cluster(), self.timeline, [self.stream])
    batch = tf.compat.v1.py_func(self._take, [], tf.string)
    batch.set_shape([])
    with tf.control_dependencies([batch]):
      counted = step.assign_add(1, read_value=False)
    with tf.control_dependencies([counted]):
      written = self.positions.write(self.timeline.is_present())
    # What another server does may come last, or never.
    with tf.control_dependencies([written]):
      self.step = tf.compat.v1.py_func(self._update, [], tf.int64)
    self.sessions = 0
    self.loss = _Loss()
    self._value = tf.compat.v1.placeholder(tf.string, [None])
    self._restore = self.positions._variable.assign(self._value)
    self._init = tf.compat.v1.global_variables_initializer()
    hook = self.positions.hook(batch)
    self.session = tf.compat.v1.train.MonitoredSession(self, hooks=[hook, self.loss])

  def create_session(self):
    session = tf.compat.v1.Session()
    session.run(self._init)
    self.timeline.begin(session)
    self.sessions += 1
    if self.sessions > 1:
      value = self.positions._fit([stream_offsets.encode(self.goes_back_to)])
      session.run(self._restore, {self._value: value})
    self.timeline.join(session)
    self.positions.begin(session)
    return session

  def _take(self):
    self.stream.taken += 1
    return stream_offsets.encode(_at(self.stream.taken))

  def _update(self):
    if self.is_half_done:
      raise ValueError("half done")
    return 0

  def _read(self) -> Offsets:
    return self.positions.read(self.session._tf_sess())

  def test_a_step_counts_when_it_is_done_everywhere(self):
    self.session.run(self.step)
    self.assertEqual(self._read(), {})
    self.session.run(self.step)
    self.assertEqual(self._read(), _at(1))
    self.positions.write_last_step(self.session._tf_sess())
    self.assertEqual(self._read(), _at(2))

  def test_a_step_that_is_done_on_some_servers_only_does_not_count(self):
    self.session.run(self.step)
    self.is_half_done = True
    with self.assertRaises(tf.errors.OpError):
      self.session.run(self.step)
    self.assertEqual(self._read(), _at(1))

  def test_what_was_done_before_training_went_back_does_not_count(self):
    for _ in range(5):
      self.session.run(self.step)
    self.assertEqual(self._read(), _at(4))
    self.goes_back_to = _at(2)
    self.loss.is_due = True
    self.session.run(self.step)  # In a new session, which begins behind offset 2.
    self.assertEqual((self.sessions, self.stream.taken), (2, 3))
    self.assertEqual(self._read(), _at(2))
    self.session.run(self.step)
    self.assertEqual(self._read(), _at(3))


if __name__ == "__main__":
  absltest.main()
