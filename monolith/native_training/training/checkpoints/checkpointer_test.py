import contextlib
import itertools
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.embedding.sharded_embedding import ShardedEmbedding
from monolith.native_training.training.checkpoints import checkpoint, storage
from monolith.native_training.training.checkpoints.checkpoint_errors import StorageError
from monolith.native_training.training.checkpoints.checkpointer import Checkpointer


class CheckpointerTest(absltest.TestCase):
  """A model of one dense variable; estimator_test saves tables."""

  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    graph = tf.Graph()
    self.enter_context(graph.as_default())
    self._variable = tf.compat.v1.get_variable("v", initializer=0.0, use_resource=True)
    self._value = tf.compat.v1.placeholder(tf.float32, [])
    self._assign = self._variable.assign(self._value)
    embedding = ShardedEmbedding({})
    embedding.build()
    self._checkpointer = Checkpointer(embedding, max_to_keep=2)
    self._session = self.enter_context(tf.compat.v1.Session(graph=graph))

  def _save(self, value: float, step: int) -> str:
    self._session.run(self._assign, {self._value: value})
    return self._checkpointer.save(self._session, self._dir, step)

  def _restored(self, path: str) -> float:
    self._session.run(self._assign, {self._value: -1.0})
    self._checkpointer.restore(self._session, path)
    return float(self._session.run(self._variable))

  def test_older_ones_are_removed(self):
    for step in (1, 2, 3):
      self._save(step, step)
    self.assertEqual(
      [checkpoint.step_of(path) for path in checkpoint.checkpoints(self._dir)], [2, 3]
    )
    self.assertEmpty([n for n in os.listdir(self._dir) if n.startswith("model.ckpt-1")])
    self.assertEqual(self._restored(checkpoint.latest_checkpoint(self._dir)), 3)

  def test_saving_a_step_again_replaces_it(self):
    first = self._save(1, 7)
    for value in (2, 3):
      path = self._save(value, 7)
      self.assertEqual(self._restored(path), value)
      self.assertEqual(checkpoint.checkpoints(self._dir), [path])
      self.assertEqual(checkpoint.step_of(path), 7)
    self.assertLen(os.listdir(self._dir), 4)  # And the file `checkpoint`.
    self.assertNotEqual(first, path)

  def test_readers_always_find_a_whole_one(self):
    self._save(1, 7)
    seen = []

    def look(then):
      def call(*arguments, **named):
        path = checkpoint.latest_checkpoint(self._dir)
        checkpoint.check_dense_files(path)
        seen.append(float(tf.train.load_variable(path, "v")))
        return then(*arguments, **named)

      return call

    for name in ("remove", "rename", "rmtree", "makedirs"):
      function = getattr(tf.io.gfile, name)
      self.enter_context(mock.patch.object(tf.io.gfile, name, look(function)))
    self._save(2, 7)
    self.assertEqual(set(seen), {1.0, 2.0})
    self.assertGreater(len(seen), 3)

  def test_dense_variables_are_never_without_their_folder_of_tables(self):
    """It tells that they are ours, at whatever moment a save is killed."""
    seen = []

    def look(then):
      def call(*arguments, **named):
        result = then(*arguments, **named)
        names = os.listdir(self._dir)
        seen.append(then)
        for name in names:
          of, suffix, _ = name.partition(".index")
          if suffix:
            self.assertIn(f"{of}.tables", names)
        return result

      return call

    save = self._checkpointer._dense.save

    def save_dense(session, path):
      self.assertTrue(os.path.isdir(checkpoint.tables_dir(path)))
      look(save)(session, path)

    self.enter_context(mock.patch.object(self._checkpointer._dense, "save", save_dense))
    for name in ("remove", "rename", "rmtree", "makedirs"):
      function = getattr(tf.io.gfile, name)
      self.enter_context(mock.patch.object(tf.io.gfile, name, look(function)))
    for step in (1, 2, 3, 3):
      self._save(step, step)
    self.assertContainsSubset([save], seen)
    self.assertGreater(len(seen), 16)

  def test_a_checkpoint_of_tensorflows_saver_is_not_written_over(self):
    self._session.run(self._assign, {self._value: 5.0})
    saver = tf.compat.v1.train.Saver()
    model = os.path.join(self._dir, "model.ckpt")
    foreign = saver.save(self._session, model, global_step=7)
    for value, step in ((1, 6), (2, 7), (3, 8), (4, 9)):
      path = self._save(value, step)
      self.assertEqual(checkpoint.step_of(path), step)
      self.assertEqual(self._restored(path), value)
    self.assertEqual(tf.train.load_variable(foreign, "v"), 5.0)

  def test_what_cannot_be_removed_does_not_undo_a_save(self):
    self._save(1, 1)
    error = tf.errors.PermissionDeniedError(None, None, "read-only")
    for first, where, broken in (
      (2, tf.io.gfile, "remove"),
      (9, checkpoint, "write_state"),
    ):
      with mock.patch.object(where, broken, side_effect=error):
        with self.assertLogs("absl", "ERROR") as logs:
          for step in range(first, first + 3):
            path = self._save(step, step)
      self.assertRegex(logs.output[-1], f"{path} is saved, but older .*read-only")
      self.assertEqual(checkpoint.latest_checkpoint(self._dir), path)

  def test_a_failure_while_saving_a_step_again_leaves_the_one_that_is_there(self):
    path = self._save(1, 7)
    for broken in ("save", "write_manifest"):
      where = self._checkpointer._dense if broken == "save" else checkpoint
      with mock.patch.object(where, broken, side_effect=OSError("no space left")):
        with self.assertRaisesRegex(OSError, "no space"):
          self._save(2, 7)
      self.assertEqual(checkpoint.latest_checkpoint(self._dir), path)
      self.assertEqual(self._restored(path), 1)
    self.assertEqual(self._restored(self._save(3, 7)), 3)

  def test_nothing_is_left_of_what_failed(self):
    path = self._save(1, 7)
    before = sorted(os.listdir(self._dir))
    for step in (7, 8):
      with mock.patch.object(checkpoint, "write_manifest", side_effect=OSError("full")):
        with self.assertRaisesRegex(OSError, "full"):
          self._save(2, step)
      self.assertEqual(sorted(os.listdir(self._dir)), before)
    self.assertEqual(self._restored(path), 1)

  def test_what_is_left_of_what_failed_goes_with_the_next_save(self):
    error = tf.errors.PermissionDeniedError(None, None, "busy")
    with (
      mock.patch.object(checkpoint, "write_manifest", side_effect=OSError("full")),
      mock.patch.object(tf.io.gfile, "rmtree", side_effect=error),
      self.assertRaisesRegex(OSError, "full"),
    ):
      self._save(1, 7)
    self.assertIn("model.ckpt-7.tables", os.listdir(self._dir))
    self._save(2, 8)
    self.assertEmpty([n for n in os.listdir(self._dir) if "ckpt-7" in n])

  def test_a_variable_whose_values_are_damaged_is_named(self):
    path = self._save(1, 7)
    (name,) = [n for n in checkpoint.dense_files(path) if ".data-" in n]
    with open(name, "r+b") as file:
      file.write(b"\xff")
    with self.assertRaisesRegex(ValueError, f"{name} is damaged.*in the values of v$"):
      checkpoint.check_dense_files(path)
    path = self._save(2, 8)
    with open(path + ".index", "r+b") as file:
      file.truncate(20)
    with self.assertRaisesRegex(ValueError, r"index is damaged: it has 20 bytes.*\w$"):
      checkpoint.check_dense_files(path)

  def test_storage_is_no_server_that_is_away(self):
    path = self._save(1, 7)
    for kind in (tf.errors.AbortedError, tf.errors.UnavailableError):
      error = kind(None, None, "storage is busy")
      for where, broken in (
        (checkpoint, "write_manifest"),
        (tf.io.gfile, "makedirs"),
        (self._checkpointer._dense._saver, "save"),
      ):
        with mock.patch.object(where, broken, side_effect=error):
          with self.assertRaisesRegex(StorageError, f"{kind.__name__}.*is busy"):
            self._save(2, 8)
      with mock.patch.object(
        self._checkpointer._dense._restorer, "restore", side_effect=error
      ):
        with self.assertRaisesRegex(StorageError, f"{path}.index.*is busy"):
          self._checkpointer.restore(self._session, path)
      self.assertEqual(checkpoint.latest_checkpoint(self._dir), path)

  def test_all_is_in_storage_before_there_is_a_checkpoint(self):
    done = []

    def note(what, then):
      def call(*arguments, **named):
        done.append((what, str(arguments[0])))
        return then(*arguments, **named)

      return call

    for what, where, name in (
      ("flush", storage, "flush_to_storage"),
      ("write", checkpoint, "write_manifest"),
      ("remove", checkpoint, "write_state"),
    ):
      function = note(what, getattr(where, name))
      self.enter_context(mock.patch.object(where, name, function))
    path = self._save(1, 7)
    flushed = [name for what, name in done if what == "flush"]
    begin, end = done.index(("write", path)), done.index(("remove", self._dir))
    before = {name for _, name in done[:begin]}
    tables = checkpoint.tables_dir(path)
    self.assertContainsSubset(
      [tables, self._dir, *checkpoint.dense_files(path)], before
    )
    self.assertIn(("flush", tables), done[begin:end])
    self.assertNotEmpty(flushed)

  def test_a_file_that_grows_too_large_is_no_end_of_data(self):
    too_large = tf.errors.OutOfRangeError(None, None, "File too large")
    with mock.patch.object(
      self._checkpointer._dense._saver, "save", side_effect=too_large
    ):
      with self.assertRaisesRegex(StorageError, "too large"):
        self._save(1, 7)

  def test_a_server_that_is_away_is_no_storage(self):
    path = self._save(1, 7)
    away = tf.errors.UnavailableError(None, None, "gone")
    self.enter_context(
      mock.patch.object(self._checkpointer._servers, "is_away", return_value=True)
    )
    dense = self._checkpointer._dense
    for where, broken, do in (
      (dense._saver, "save", lambda: self._save(2, 8)),
      (
        dense._restorer,
        "restore",
        lambda: self._checkpointer.restore(self._session, path),
      ),
    ):
      with mock.patch.object(where, broken, side_effect=away):
        with self.assertRaisesRegex(tf.errors.UnavailableError, "gone"):
          do()

  def test_whatever_storage_refuses_the_last_one_stays(self):
    """Each call that a save makes fails in turn."""
    names = ("exists", "isdir", "listdir", "makedirs", "remove", "rename", "rmtree")
    calls, failing = 0, None

    def failing_at(do):
      def call(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == failing:
          raise tf.errors.ResourceExhaustedError(None, None, "no space left")
        return do(*arguments, **named)

      return call

    for step in (1, 2):
      self._save(step, step)
    with contextlib.ExitStack() as stack:
      for name in names:
        function = failing_at(getattr(tf.io.gfile, name))
        stack.enter_context(mock.patch.object(tf.io.gfile, name, function))
      write = failing_at(storage.flush_to_storage)
      stack.enter_context(mock.patch.object(storage, "flush_to_storage", write))
      failed = 0
      for nth in itertools.count(1):
        calls, failing = 0, nth
        step += 1
        try:
          self._save(step, step)
          is_saved = True
        except (OSError, tf.errors.OpError):
          is_saved = False
          failed += 1
        is_done, failing = calls < nth, None
        path = checkpoint.latest_checkpoint(self._dir)
        # One whose last flush has failed is there, but may not outlive a loss of power.
        there = [step] if is_saved else [step - 1, step]
        self.assertIn(checkpoint.step_of(path), there)
        self.assertEqual(self._restored(path), checkpoint.step_of(path))
        if is_done:
          break
        # Once all is well nothing is left of what was not.
        step += 1
        self._save(step, step)
        self.assertLen(checkpoint.checkpoints(self._dir), 2)
        self.assertLen(os.listdir(self._dir), 7)  # And the file `checkpoint`.
    self.assertGreater(failed, 10)


if __name__ == "__main__":
  absltest.main()
