from unittest import mock

from absl.testing import absltest

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.training.checkpoints import save_policy
from monolith.native_training.training.checkpoints.save_policy import SavePolicy
from monolith.native_training.training.runner_config import RunnerConfig


class SavePolicyTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._now = 1000.0
    self.enter_context(
      mock.patch.object(save_policy.time, "monotonic", lambda: self._now)
    )

  def _policy(self, **settings) -> SavePolicy:
    return SavePolicy(RunnerConfig(tf_config="", **settings), MonolithModel.params())

  def test_by_steps(self):
    policy = self._policy(save_checkpoints_steps=10)
    policy.begin(5)
    self.assertFalse(policy.is_due(14))
    self.assertTrue(policy.is_due(15))
    # It took three steps: the next one is due ten after it began.
    policy.saved(15, self._now)
    self.assertFalse(policy.is_due(24))
    self.assertTrue(policy.is_due(25))

  def test_by_seconds_since_the_last_one_began(self):
    policy = self._policy(save_checkpoints_secs=30)
    self._now += 30
    self.assertTrue(policy.is_due(1))
    began_at = self._now
    self._now += 20
    policy.saved(1, began_at)
    self._now += 9
    self.assertFalse(policy.is_due(2))
    self._now += 1
    self.assertTrue(policy.is_due(2))

  def test_steps_are_counted_from_where_training_went_back_to(self):
    policy = self._policy(save_checkpoints_steps=10)
    policy.begin(100)
    self.assertFalse(policy.is_due(50))
    self.assertTrue(policy.is_due(60))

  def test_an_earlier_chief_s_saves_count(self):
    self.enter_context(mock.patch.object(save_policy.time, "time", lambda: 5000.0))
    policy = self._policy(save_checkpoints_steps=10, save_checkpoints_secs=30)
    policy.take_over(100, 4980)
    self.assertFalse(policy.is_due(109))
    self.assertTrue(policy.is_due(110))
    self._now += 9
    self.assertFalse(policy.is_due(109))
    self._now += 1
    self.assertTrue(policy.is_due(109))
    policy.take_over(100, 6000)  # By a clock that is ahead.
    self.assertFalse(policy.is_due(109))
    policy.take_over(0, 0)
    self.assertTrue(policy.is_due(1))
    policy = self._policy(save_checkpoints_steps=10)
    policy.take_over(0, 0)
    self.assertFalse(policy.is_due(9))
    self.assertTrue(policy.is_due(25))

  def test_what_failed_is_tried_again_within_a_minute(self):
    policy = self._policy(save_checkpoints_secs=3600)
    self._now += 3600
    self.assertTrue(policy.is_due(1))
    self.assertEqual(policy.failed(1), "60 s")
    self._now += 59
    self.assertFalse(policy.is_due(2))
    self._now += 1
    self.assertTrue(policy.is_due(3))
    policy.saved(3, self._now)
    self._now += 60
    self.assertFalse(policy.is_due(4))

  def test_what_failed_is_not_tried_again_at_every_step(self):
    policy = self._policy(save_checkpoints_steps=1)
    self.assertEqual(policy.failed(1), "1 steps or 60 s")
    self._now += 0.5
    self.assertFalse(policy.is_due(20))
    self._now += 0.5
    self.assertTrue(policy.is_due(21))

  def test_what_failed_waits_for_as_many_steps_or_a_minute(self):
    policy = self._policy(save_checkpoints_steps=100)
    policy.failed(100)
    self._now += 10
    self.assertFalse(policy.is_due(199))
    self.assertTrue(policy.is_due(200))
    self._now += 50
    self.assertTrue(policy.is_due(101))


if __name__ == "__main__":
  absltest.main()
