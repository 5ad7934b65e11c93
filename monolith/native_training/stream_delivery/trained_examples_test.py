import json
import os

from absl.testing import absltest

from monolith.native_training.stream_delivery.trained_examples import TrainedExamples


class TrainedExamplesTest(absltest.TestCase):
  def test_processes_are_added_up(self):
    path = os.path.join(self.create_tempdir().full_path, "worker-0.json")
    trained = TrainedExamples(path)
    trained.read()
    self.assertEqual((trained.has_begun, trained.total), (False, 0))
    for examples, total in ((0, 0), (70, 70), (100, 100), (0, 100), (5, 105), (9, 109)):
      with open(path, "w") as file:
        json.dump({"examples": examples}, file)
      trained.read()
      self.assertEqual((trained.has_begun, trained.total), (True, total))


if __name__ == "__main__":
  absltest.main()
