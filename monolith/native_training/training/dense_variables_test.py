import os

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.dense_variables import (
  OF_THE_JOB,
  DenseVariables,
  JobVariable,
)


class DenseVariablesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._path = os.path.join(self.create_tempdir().full_path, "model.ckpt-1")
    self._in_model(a=[2], b=[], do=lambda dense, s: dense.save(s, self._path))

  def _in_model(self, do, **shapes):
    """Does something in a model of variables of ones."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      for name, shape in shapes.items():
        tf.compat.v1.get_variable(name, initializer=tf.ones(shape), use_resource=True)
      dense = DenseVariables()
      session.run(tf.compat.v1.global_variables_initializer())
      return do(dense, session)

  def _assert_refused(self, message: str, **shapes) -> None:
    with self.assertRaisesRegex(ValueError, f"{self._path}.*{message}") as raised:
      self._in_model(lambda dense, s: dense.restore(s, self._path), **shapes)
    self.assertLen(str(raised.exception).splitlines(), 1)

  def _data(self) -> str:
    return self._path + ".data-00000-of-00001"

  def test_variables_that_do_not_fit_are_named(self):
    self._assert_refused(
      r"\.index does not fit .*: variable a has shape \[2\] there and \(3,\) in the "
      r"model; variable c, of shape \(\), is not there",
      a=[3],
      c=[],
    )

  def test_parts_of_a_variable_are_found_in_the_whole(self):
    """Also where others begin anew."""

    def build(*extra: str) -> DenseVariables:
      partitioner = tf.compat.v1.fixed_size_partitioner(2)
      tf.compat.v1.get_variable(
        "parts",
        initializer=tf.range(5.0),
        partitioner=partitioner,
        use_resource=True,
      )
      for name in extra:
        tf.compat.v1.get_variable(name, initializer=8.0, use_resource=True)
      return DenseVariables()

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dense = build()
      session.run(tf.compat.v1.global_variables_initializer())
      dense.save(session, self._path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dense = build("gained")
      with self.assertLogs("absl", "WARNING") as logs:
        dense.restore(session, self._path, may_begin_anew=True)
      values = session.run(tf.compat.v1.global_variables())
    self.assertEqual([v.tolist() for v in values], [[0, 1, 2], [3, 4], 8])
    self.assertNotIn("variable parts", logs.output[0])
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dense = build("gained")
      variables = tf.compat.v1.global_variables()
      negative = [v.assign(-v) for v in variables[:2]]
      session.run(tf.compat.v1.global_variables_initializer())
      session.run(negative)
      self.assertEqual(dense.take_matching(session, self._path), 2)
      values = session.run(tf.compat.v1.global_variables())
    self.assertEqual([v.tolist() for v in values], [[0, 1, 2], [3, 4], 8])

  def test_what_is_trained_on_is_read_before_the_rest(self):
    """What counts as trained on must be in the other variables."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      trained = tf.compat.v1.get_variable("trained", initializer=0, use_resource=True)
      model = tf.compat.v1.get_variable("model", initializer=0, use_resource=True)
      tf.compat.v1.add_to_collection(OF_THE_JOB, JobVariable(trained))
      dense = DenseVariables()
      session.run(tf.compat.v1.global_variables_initializer())
      step = tf.group(trained.assign_add(1), model.assign_add(1))
      run = session.run

      def run_and_train(*args):
        done = run(*args)
        run(step)
        return done

      session.run = run_and_train
      dense.save(session, self._path)
    saved = {
      name: int(tf.train.load_variable(self._path, name))
      for name in ("trained", "model")
    }
    self.assertEqual(saved, {"trained": 0, "model": 1})

  def test_missing_files_are_named(self):
    os.remove(self._data())
    self._assert_refused(f"{self._data()}; No such file", a=[2])
    os.remove(self._path + ".index")
    self._assert_refused("any matching files", a=[2])

  def test_damaged_files_are_named(self):
    with open(self._data(), "r+b") as file:
      file.write(b"\x99")
    self._assert_refused("Checksum does not match", a=[2], b=[])
    with open(self._path + ".index", "r+b") as file:
      file.truncate(10)
    self._assert_refused("too short", a=[2])

  def test_a_folder_that_cannot_be_written_to_is_named(self):
    # A folder in which root too can make no file.
    with self.assertRaisesRegex(
      tf.errors.OpError, r"cannot save .*/proc/self/model.ckpt-1.index.*No such file"
    ) as raised:
      self._in_model(lambda dense, s: dense.save(s, "/proc/self/model.ckpt-1"), a=[2])
    self.assertLen(str(raised.exception).splitlines(), 1)


if __name__ == "__main__":
  absltest.main()
