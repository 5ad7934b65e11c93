import os

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints import checkpoint_errors
from monolith.native_training.training.checkpoints.dense_variables import (
  OF_THE_JOB,
  DenseVariables,
  JobVariable,
)


def _variable(name: str, value, dtype=tf.float32) -> tf.Variable:
  initial = tf.constant(value, dtype)
  return tf.compat.v1.get_variable(name, initializer=initial, use_resource=True)


def _table(name: str, keys=tf.string, values=tf.float32, dim: int = 1):
  default = tf.zeros([dim], values)
  return tf.lookup.experimental.MutableHashTable(keys, values, default, name=name)


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

  def test_variables_of_another_dtype_begin_anew_only_in_training(self):
    """Those that fit are restored beside them."""
    for dtype, value in ((tf.float64, 7.0), (tf.int32, 7), (tf.float16, 7.0)):
      with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [_variable("a", [7, 7], dtype), _variable("b", 8.0)]
        dense = DenseVariables()
        session.run(tf.compat.v1.global_variables_initializer())
        text = rf"variable a has dtype float32 there and {dtype.name} in the model$"
        with self.assertRaisesRegex(
          checkpoint_errors.MisfitError, rf"{self._path}.index does not fit .*: {text}"
        ):
          dense.restore(session, self._path)
        session.run(variables[0].assign([9, 9]))
        with self.assertLogs("absl", "WARNING") as logs:
          dense.restore(session, self._path, may_begin_anew=True)
        self.assertLen(logs.output, 1)
        self.assertRegex(logs.output[0], f"BEGIN ANEW.*{self._path}.*: {text}")
        values = [v.tolist() for v in session.run(variables)]
        self.assertEqual(values, [[value, value], 1.0])

  def test_another_dtype_is_not_taken_by_a_warm_start(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      variables = [_variable("a", [7, 7], tf.int32), _variable("b", 8.0)]
      dense = DenseVariables()
      session.run(tf.compat.v1.global_variables_initializer())
      self.assertEqual(dense.take_matching(session, self._path), 1)
      values = [v.tolist() for v in session.run(variables)]
    self.assertEqual(values, [[7, 7], 1.0])

  def test_another_dtype_and_shape_are_both_named(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      _variable("a", [7, 7, 7], tf.int32)
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        r"variable a has shape \[2\] there and \(3,\) in the model, dtype float32 "
        "there and int32 in the model",
      ):
        DenseVariables().restore(session, self._path)

  def test_a_variable_of_the_job_of_another_dtype_begins_anew(self):
    for fit in (None, lambda value: value):
      with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = _variable("a", [7, 7], tf.int32)
        tf.compat.v1.add_to_collection(OF_THE_JOB, JobVariable(variable, fit))
        _variable("b", 8.0)
        dense = DenseVariables()
        with self.assertLogs("absl", "INFO") as logs:
          dense.restore(session, self._path)
        self.assertEqual(session.run(variable).tolist(), [7, 7])
      self.assertRegex(
        logs.output[0], "a begins anew: it has dtype float32 in .*-1 and int32 in this"
      )

  def test_objects_that_are_not_there_begin_anew_only_in_training(self):
    """A hash table is empty then, whatever it had; another keeps what was saved."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      kept = _table("kept")
      _variable("a", 1.0)
      session.run(tf.compat.v1.global_variables_initializer())
      session.run(kept.insert(["x"], [[3.0]]))
      DenseVariables().save(session, self._path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      kept, gained = _table("kept"), _table("gained")
      variable = _variable("a", 2.0)
      sizes = [kept.size(), gained.size()]
      dense = DenseVariables()
      session.run(gained.insert(["x", "y"], [[4.0], [5.0]]))
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError, "gained-keys, of object gained, is not there"
      ):
        dense.restore(session, self._path)
      self.assertEqual(session.run(sizes), [0, 2])
      with self.assertLogs("absl", "WARNING") as logs:
        dense.restore(session, self._path, may_begin_anew=True)
      self.assertRegex(logs.output[0], "objects BEGIN ANEW.*object gained, is not")
      self.assertEqual(session.run(sizes), [1, 0])
      self.assertEqual(session.run(variable), 1.0)
      self.assertEqual(session.run(kept.lookup(["x"])).tolist(), [[3.0]])
      # It is part of what is saved next.
      session.run(gained.insert(["x"], [[4.0]]))
      dense.save(session, self._path)
      session.run(gained.insert(["y"], [[5.0]]))
      dense.restore(session, self._path)
      self.assertEqual(session.run(sizes), [1, 1])

  def test_what_the_model_has_lost_is_told_beside_a_hash_table(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      _table("kept")
      _variable("a", 1.0)
      _variable("lost", 1.0)
      session.run(tf.compat.v1.global_variables_initializer())
      DenseVariables().save(session, self._path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      _table("kept")
      _variable("a", 2.0)
      with self.assertLogs("absl", "INFO") as logs:
        DenseVariables().restore(session, self._path, may_begin_anew=True)
    self.assertRegex(logs.output[0], "has dense variables that .* left out: lost$")

  def test_variables_made_of_others_begin_anew_after_them(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      random = tf.compat.v1.get_variable(
        "random", [1000], initializer=tf.random_normal_initializer(), use_resource=True
      )
      made = [random]
      for name in ("b", "c", "d"):
        last = made[-1]
        initial = tf.cond(
          tf.compat.v1.is_variable_initialized(last),
          last.read_value,
          lambda: tf.zeros([1000]),
        )
        made.append(
          tf.compat.v1.get_variable(
            f"made_{name}", initializer=initial + 1.0, use_resource=True
          )
        )
      dense = DenseVariables()
      for variable in made:
        session.run(variable.initializer)
      before = session.run(random)
      dense.restore(session, self._path, may_begin_anew=True)
      values = session.run(made)
    self.assertGreater(abs(values[0] - before).max(), 0.0)
    for value, after in zip(values[:-1], values[1:], strict=True):
      self.assertLess(abs(value + 1.0 - after).max(), 1e-5)

  def test_a_hash_table_of_another_kind_does_not_count_as_damage(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      table = _table("table")
      session.run(table.insert(["x"], [[3.0]]))
      DenseVariables().save(session, self._path)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      table = _table("table", keys=tf.int64)
      dense = DenseVariables()
      with self.assertRaisesRegex(
        checkpoint_errors.MisfitError,
        "table-keys has dtype string there and int64 in the model",
      ):
        dense.restore(session, self._path)
      dense.restore(session, self._path, may_begin_anew=True)
      self.assertEqual(session.run(table.size()), 0)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      _table("table", dim=2)
      with self.assertRaisesRegex(checkpoint_errors.MisfitError, self._path):
        DenseVariables().restore(session, self._path, may_begin_anew=True)

  def test_parts_of_a_variable_are_found_in_the_whole(self):
    """Also where others begin anew; what does not fit is named once."""

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
    self._in_model(a=[2], do=lambda dense, s: dense.save(s, self._path))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dense = build()
      with self.assertRaises(checkpoint_errors.MisfitError) as raised:
        dense.restore(session, self._path)
    self.assertEqual(str(raised.exception).count("variable parts"), 1)

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
