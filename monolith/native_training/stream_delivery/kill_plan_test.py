from absl.testing import absltest

from monolith.native_training.stream_delivery import asked, kill_plan


class KillPlanTest(absltest.TestCase):
  def test_each_victim_comes_as_often(self):
    victims = [kill.victim for kill in kill_plan.kills(20, seed=1)]
    self.assertEqual([victims.count(v) for v in kill_plan.VICTIMS], [5] * 4)
    self.assertLen(set(victims[:4]), 4)

  def test_moments_are_in_mid_stream(self):
    kills = kill_plan.kills(200, seed=1)
    for kill in kills:
      self.assertBetween(kill.after_secs, 1, asked.SEND_SECS - 1)
    self.assertGreater(len({kill.after_secs for kill in kills}), 190)
    self.assertEqual({kill.server for kill in kills}, set(range(asked.SERVERS)))

  def test_the_seed_decides(self):
    self.assertEqual(kill_plan.kills(20, seed=7)[:4], kill_plan.kills(4, seed=7))
    self.assertNotEqual(kill_plan.kills(4, seed=7), kill_plan.kills(4, seed=8))


if __name__ == "__main__":
  absltest.main()
