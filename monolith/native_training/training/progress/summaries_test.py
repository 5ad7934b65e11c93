import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.training.progress import summaries


def _points(folder: str) -> list[tuple[int, str, float]]:
  points = []
  for path in sorted(tf.io.gfile.glob(f"{folder}/events.out.tfevents.*")):
    for event in tf.compat.v1.train.summary_iterator(path):
      points += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
  return points


class SummariesTest(absltest.TestCase):
  def test_points_are_readable_at_once_and_add_up(self):
    folder = self.create_tempdir().full_path
    summaries.write(folder, 10, {"loss": 0.5, "rank/auc": 0.75})
    first = [(10, "loss", 0.5), (10, "rank/auc", 0.75)]
    self.assertEqual(_points(folder), first)
    summaries.write(folder, 20, {"loss": 0.25})
    self.assertEqual(_points(folder), [*first, (20, "loss", 0.25)])

  def test_a_folder_that_is_not_there_is_made(self):
    folder = self.create_tempdir().full_path + "/model/eval"
    summaries.write(folder, 1, {"loss": 1})
    self.assertEqual(_points(folder), [(1, "loss", 1.0)])


if __name__ == "__main__":
  absltest.main()
