"""Trains a model of another workspace, as that workspace's author would."""

import numpy as np
from absl.testing import absltest
from click_model import NUM_EXAMPLES, ClickModel, generate_clicks

from monolith.native_training.estimator import Estimator, RunnerConfig


class ClickModelTest(absltest.TestCase):
  def test_learns_and_predicts(self):
    model = ClickModel.params().instantiate()
    folder = self.create_tempdir().full_path
    estimator = Estimator(model, RunnerConfig(model_dir=folder))

    estimator.train(steps=4)
    first = estimator.evaluate()
    estimator.train(steps=300)
    last = estimator.evaluate()

    self.assertEqual(last["global_step"], 304)
    self.assertLess(last["loss"], 0.8 * first["loss"])
    predicted = np.array([np.ravel(p["click"])[0] for p in estimator.predict()])
    self.assertLen(predicted, NUM_EXAMPLES)
    clicked = generate_clicks(NUM_EXAMPLES)["clicked"][:, 0] > 0.5
    self.assertGreater(np.mean((predicted > 0.5) == clicked), 0.75)


if __name__ == "__main__":
  absltest.main()
