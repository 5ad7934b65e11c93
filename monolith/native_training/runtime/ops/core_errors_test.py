import tensorflow as tf

from monolith.native_training.runtime.ops import (
  core_errors,
  loader,
  python_errors,
  testing,
)

_SENTENCE = "the gradient is not finite of weight (nan); nothing was updated."


def _fail(ops):
  return ops.monolith_clip_by_global_norm(
    [tf.constant([float("nan")])], names=["weight"], clip_norm=1.0
  )[0]


class _Broken(Exception):
  """Of Python code that TensorFlow runs."""


def _batches_then(error: Exception):
  """A dataset's next element, in a graph; its generator raises after the first."""

  def batches():
    with python_errors.kept(_Broken):
      yield 1
      raise error

  spec = tf.TensorSpec([], tf.int64)
  dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
  return tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()


class CoreErrorsTest(tf.test.TestCase):
  def _assert_plain(self, error: tf.errors.OpError) -> None:
    self.assertIsInstance(error, tf.errors.InvalidArgumentError)
    self.assertStartsWith(str(error), _SENTENCE)
    self.assertLen(str(error).splitlines(), 1)

  def test_eagerly(self):
    with self.assertRaises(tf.errors.OpError) as raised:
      _fail(core_errors.PlainOps(loader.ops()))
    self._assert_plain(raised.exception)

  def test_in_a_session(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      failing = [_fail(loader.ops()) for _ in range(2)]
      with self.assertRaises(tf.errors.OpError) as raised, core_errors.told_plainly():
        session.run(failing)
      self._assert_plain(raised.exception)

  def test_in_another_process(self):
    server = tf.distribute.Server.create_local_server()
    with tf.Graph().as_default(), tf.compat.v1.Session(server.target) as session:
      with self.assertRaises(tf.errors.OpError) as raised, core_errors.told_plainly():
        session.run(_fail(loader.ops()))
      self._assert_plain(raised.exception)

  def test_an_earlier_error_is_not_the_cause(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      failing = _fail(loader.ops())
      try:
        raise tf.errors.NotFoundError(None, None, "earlier")
      except tf.errors.NotFoundError:
        with self.assertRaises(tf.errors.OpError) as raised:
          session.run(failing)
    self.assertStartsWith(core_errors.sentence_of(raised.exception), _SENTENCE)

  def test_other_ops_keep_their_messages(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      check = tf.debugging.check_numerics(tf.constant(float("nan")), "mine")
      with self.assertRaises(tf.errors.InvalidArgumentError) as wanted:
        session.run(check)
      with self.assertRaises(tf.errors.OpError) as raised, core_errors.told_plainly():
        session.run(check)
    self.assertEqual(str(raised.exception), str(wanted.exception))

  def test_an_exception_of_python_comes_out_as_itself(self):
    server = tf.distribute.Server.create_local_server()
    for target in ("", server.target):
      with tf.Graph().as_default(), tf.compat.v1.Session(target) as session:
        text = f"the brokers of {target!r} are away,\nas it seems " + "x" * 10_000
        batch = _batches_then(_Broken(text, 17))
        with core_errors.told_plainly():
          self.assertEqual(session.run(batch), 1)
        with self.assertRaises(_Broken) as raised, core_errors.told_plainly():
          session.run(batch)
        self.assertEqual(raised.exception.args, (text, 17))
        self.assertTrue(raised.exception.__suppress_context__)

  def test_an_exception_of_a_function_comes_out_as_itself(self):
    def fail(number):
      with python_errors.kept(_Broken):
        raise _Broken(f"{number} is too much")

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      failing = tf.numpy_function(fail, [17], tf.int64)
      with self.assertRaises(_Broken) as raised, core_errors.told_plainly():
        session.run(failing)
    self.assertEqual(str(raised.exception), "17 is too much")

  def test_exceptions_of_other_kinds_are_told_by_tensorflow(self):
    for error in (
      OSError("a b"),
      StopIteration("a b"),
      tf.errors.AbortedError(None, None, "a b"),
    ):
      with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        batch = _batches_then(error)
        session.run(batch)
        with self.assertRaises(tf.errors.OpError) as raised, core_errors.told_plainly():
          session.run(batch)
      self.assertNotIsInstance(raised.exception, tf.errors.AbortedError)
      self.assertIn("a b", raised.exception.message)

  def test_an_exception_is_told_once(self):
    with self.assertRaises(_Broken), python_errors.kept(_Broken):
      raise _Broken("too early")
    error = tf.errors.UnknownError(None, None, "_Broken: too early, and more")
    self.assertIsNone(python_errors.take(tf.errors.UnknownError(None, None, "late")))
    self.assertIsInstance(python_errors.take(error), _Broken)
    self.assertIsNone(python_errors.take(error))

  def test_what_does_not_fail_gives_its_result(self):
    ops = core_errors.PlainOps(loader.ops())
    handle = testing.table_set(testing.config(mov=[testing.segment(1, value=2.0)]))
    self.assertAllEqual(ops.monolith_lookup(handle, testing.request([7])), [2.0])

  def test_in_a_function_without_a_warning(self):
    ops = core_errors.PlainOps(loader.ops())
    handle = testing.table_set(testing.config(mov=[testing.segment(1, value=2.0)]))
    function = tf.function(lambda: ops.monolith_lookup(handle, testing.request([7])))
    with self.assertNoLogs("tensorflow", "WARNING"):
      self.assertAllEqual(function(), [2.0])


if __name__ == "__main__":
  tf.test.main()
