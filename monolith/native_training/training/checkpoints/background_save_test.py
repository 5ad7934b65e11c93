import threading

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.checkpoints.background_save import (
  BackgroundSave,
  Save,
)


class BackgroundSaveTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._session = self.enter_context(tf.compat.v1.Session(graph=tf.Graph()))
    self._may_end = threading.Event()
    self.addCleanup(self._may_end.set)
    self._graphs = []

  def _save(self, save: Save) -> None:
    self._graphs.append(tf.compat.v1.get_default_graph())
    self._may_end.wait()
    save.path = f"model.ckpt-{save.step}"
    if save.step == 13:
      raise OSError("no space left")

  def test_goes_on_beside_who_has_begun_it(self):
    saving = BackgroundSave(self._save)
    self.assertFalse(saving.is_running)
    saving.begin(self._session, 7)
    self.assertTrue(saving.is_running)
    self.assertTrue(saving.is_busy)
    self.assertEqual(saving.current.step, 7)
    self.assertIsNone(saving.take_done())
    saving.wait(0.01)
    self._may_end.set()
    saving.wait()
    self.assertFalse(saving.is_busy)
    self.assertTrue(saving.is_running)  # Until it is reported.
    done = saving.take_done()
    self.assertEqual((done.step, done.path), (7, "model.ckpt-7"))
    self.assertIsNone(done.error)
    self.assertFalse(saving.is_running)
    self.assertIsNone(saving.take_done())
    self.assertEqual(self._graphs, [self._session.graph])

  def test_one_at_a_time(self):
    saving = BackgroundSave(self._save)
    saving.begin(self._session, 7)
    with self.assertRaisesRegex(RuntimeError, "running already"):
      saving.begin(self._session, 8)

  def test_an_error_is_told_and_the_next_one_may_begin(self):
    self._may_end.set()
    saving = BackgroundSave(self._save)
    saving.begin(self._session, 13)
    saving.wait()
    self.assertIsInstance(saving.take_done().error, OSError)
    saving.begin(self._session, 14)
    saving.wait()
    self.assertIsNone(saving.take_done().error)


if __name__ == "__main__":
  absltest.main()
