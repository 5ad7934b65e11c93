import os
import time
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training import evaluator
from monolith.native_training.training.checkpoints import checkpoint, manifest


class NewCheckpointsTest(absltest.TestCase):
  """Time passes by `sleep` only, and each `sleep` is a turn of what the chief does."""

  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    self._now = 0.0
    self._chief = {}
    self.enter_context(
      mock.patch.multiple(time, monotonic=lambda: self._now, sleep=self._sleep)
    )

  def _sleep(self, seconds: float) -> None:
    self.assertGreater(seconds, 0)
    self._now += seconds
    for when in [w for w in self._chief if w <= self._now]:
      self._chief.pop(when)()
    self.assertLess(self._now, 1000, "the evaluator does not leave")

  def _save(self, step: int, final: bool = False) -> None:
    path = os.path.join(self._dir, f"model.ckpt-{step}")
    os.makedirs(f"{path}.tables")
    content = manifest.Manifest(step, "save", [], [], 0, final=final)
    checkpoint.write_manifest(path, content)

  def _beat(self) -> None:
    with open(os.path.join(self._dir, "chief.alive"), "w") as file:
      file.write(str(self._now))

  def _steps(self) -> list[int]:
    return [checkpoint.step_of(p) for p in evaluator.new_checkpoints(self._dir, 150.0)]

  def test_each_one_is_served_once_until_the_final_one(self):
    self._chief = {
      **{now: self._beat for now in range(0, 200, 20)},
      5: lambda: self._save(10),
      15: lambda: self._save(20),
      200: lambda: self._save(30, final=True),
    }
    self.assertEqual(self._steps(), [10, 20, 30])
    self.assertLess(self._now, 203)

  def test_a_folder_that_is_not_there_yet_is_waited_for(self):
    folder = self._dir
    self._dir = os.path.join(folder, "later")
    self._chief = {100: lambda: self._save(10, final=True)}
    self.assertEqual(self._steps(), [10])

  def test_storage_that_does_not_answer_is_waited_for(self):
    listdir, away = tf.io.gfile.listdir, tf.errors.UnavailableError(None, None, "away")

    def answer(path):
      if 20 <= self._now < 40 or 60 <= self._now < 80:
        raise away
      return listdir(path)

    self._chief = {10: lambda: self._save(10), 50: lambda: self._save(20, final=True)}
    with mock.patch.object(tf.io.gfile, "listdir", answer):
      self.assertEqual(self._steps(), [10, 20])
      self._now = 60.0
      self.assertFalse(evaluator.is_over(self._dir))

  def test_those_that_came_while_it_was_busy_are_skipped_but_for_the_newest(self):
    self._save(10)
    served = evaluator.new_checkpoints(self._dir, 150.0)
    self.assertEqual(checkpoint.step_of(next(served)), 10)
    for step in (20, 30):
      self._save(step)
    self._save(40, final=True)
    self.assertEqual([checkpoint.step_of(path) for path in served], [40])

  def test_an_earlier_runs_final_one_is_not_the_end_if_training_resumes(self):
    self._save(10, final=True)
    old = os.path.join(self._dir, "model.ckpt-10")
    self._chief = {
      10: lambda: checkpoint.mark(old, final=False),
      100: lambda: self._save(20, final=True),
    }
    self.assertEqual(self._steps(), [10, 20])

  def test_a_job_that_is_over_ends_it(self):
    self._save(10, final=True)
    self.assertEqual(self._steps(), [10])
    self.assertLess(self._now, 60)

  def test_a_job_that_ends_while_it_watches_ends_it_at_once(self):
    self._chief = {10: lambda: self._save(10, final=True)}
    self.assertEqual(self._steps(), [10])
    self.assertLess(self._now, 13)

  def test_a_final_mark_set_later_is_seen(self):
    self._save(10)
    path = os.path.join(self._dir, "model.ckpt-10")
    self._chief = {50: lambda: checkpoint.mark(path, final=True)}
    self.assertEqual(self._steps(), [10])

  def test_a_silent_chief_is_given_up(self):
    self._chief = {60: lambda: self._save(10), 100: self._beat}
    served = evaluator.new_checkpoints(self._dir, 150.0)
    self.assertEqual(checkpoint.step_of(next(served)), 10)
    with self.assertRaisesRegex(TimeoutError, "no sign of life in .* for 150 s.*-10"):
      next(served)
    self.assertBetween(self._now, 250, 253)


if __name__ == "__main__":
  absltest.main()
