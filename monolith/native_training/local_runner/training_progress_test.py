import json
import os

from absl.testing import absltest

from monolith.native_training.local_runner.training_progress import ProgressFiles


class ProgressFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = self.create_tempdir().full_path
    self.paths = [os.path.join(folder, name) for name in ("a", "b")]
    self.files = ProgressFiles(self.paths)

  def _write(self, index: int, at: float, **content) -> None:
    with open(self.paths[index], "w") as file:
      json.dump(content, file)
    os.utime(self.paths[index], (at, at))

  def test_nothing_yet(self):
    progress = self.files.read()
    self.assertEqual((progress.examples, progress.workers, progress.loss), (0, 0, None))
    self.assertEqual(progress.examples_per_second, 0)
    self.assertFalse(progress.is_done)

  def test_a_file_that_cannot_be_read_is_no_news(self):
    self._write(0, 10, state="training", step=5, examples=50, loss=1.0)
    self.files.read()
    with open(self.paths[0], "w") as file:
      file.write('{"state": "trai')
    self.assertEqual(self.files.read().examples, 50)

  def test_workers_are_added_up(self):
    self._write(0, 10, state="training", step=5, examples=50, loss=1.0)
    self._write(1, 12, state="training", step=7, examples=70, loss=2.0)
    progress = self.files.read()
    self.assertEqual((progress.examples, progress.step, progress.workers), (120, 7, 2))
    self.assertEqual(progress.loss, 1.5)
    self.assertEqual(progress.seconds, 2)

  def test_time_is_that_of_training(self):
    self._write(0, 10, state="training", examples=1)
    self._write(1, 11, state="training", examples=1)
    self.files.read()
    self._write(1, 19, state="done", examples=90)
    self.files.read()
    self._write(0, 20, state="saving", examples=110)
    self.assertFalse(self.files.read().is_done)
    self._write(
      0, 29, state="done", examples=110, tables={"mov": 3}, table_bytes={"mov": 99}
    )
    progress = self.files.read()
    self.assertTrue(progress.is_done)
    self.assertEqual(progress.seconds, 10)
    self.assertEqual(progress.examples_per_second, 20)
    self.assertEqual((progress.tables, progress.table_bytes), ({"mov": 3}, {"mov": 99}))

  def test_saving_in_between_counts_as_training(self):
    for at, state in ((10, "training"), (11, "saving"), (15, "training"), (18, "done")):
      self._write(0, at, state=state, examples=8)
      progress = self.files.read()
    self.assertEqual(progress.seconds, 8)

  def test_a_worker_that_is_started_again_counts_once(self):
    self._write(0, 10, state="training", batches=5, position=5, examples=50)
    self._write(1, 10, state="training", batches=5, position=5, examples=50)
    self.assertEqual(self.files.read().examples, 100)
    self._write(1, 20, state="training", batches=1, position=3, examples=10)
    progress = self.files.read()
    self.assertEqual((progress.examples, progress.examples_trained_again), (100, 30))
    for index, batches in ((0, 10), (1, 8)):
      content = {"batches": batches, "position": 10, "examples": batches * 10}
      self._write(index, 30, state="done", **content)
    progress = self.files.read()
    self.assertEqual((progress.examples, progress.examples_trained_again), (200, 30))
    self.assertTrue(progress.is_done)


if __name__ == "__main__":
  absltest.main()
