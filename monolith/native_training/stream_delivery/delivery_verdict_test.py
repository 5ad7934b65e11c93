from absl.testing import absltest

from monolith.native_training.stream_delivery import asked, delivery_verdict, kill_plan
from monolith.native_training.stream_delivery.kill_round import Outcome

_EACH_ONCE = dict.fromkeys(range(asked.MESSAGES), 1)


def _outcome(**changes) -> Outcome:
  ends = [asked.MESSAGES // asked.PARTITIONS] * asked.PARTITIONS
  ends[0] += asked.MESSAGES - sum(ends)
  settings = {
    "struck": "worker 1",
    "exit_codes": {"worker 0": 0, "ps 0": 0},
    "acknowledged": asked.MESSAGES,
    "ends": ends,
    "committed": list(ends),
    "trained": asked.MESSAGES,
    "slowest_save_secs": 0.5,
    "uncovered": 2000,
    **changes,
  }
  kill = kill_plan.kills(1, seed=1)[0]
  return Outcome(kill, "/folder", "topic", **settings)


class DeliveryVerdictTest(absltest.TestCase):
  def _problems(self, counts=_EACH_ONCE, is_final=True, **changes) -> str:
    verdict = delivery_verdict.judge(_outcome(**changes), counts, is_final)
    return "; ".join(verdict.problems)

  def test_each_message_once_is_well(self):
    verdict = delivery_verdict.judge(_outcome(), _EACH_ONCE, True)
    self.assertEqual(verdict.problems, [])
    numbers = (verdict.missing, verdict.repeats, verdict.trained_again)
    self.assertEqual(numbers, (0, 0, 0))

  def test_one_message_that_was_skipped_is_found(self):
    counts = {n: 1 for n in _EACH_ONCE if n != 77}
    self.assertEqual(self._problems(counts), "1 messages were skipped, from 77 to 77")
    self.assertIn("skipped", self._problems({**_EACH_ONCE, 77: 0}))

  def test_what_was_never_sent_is_found(self):
    self.assertIn("never sent", self._problems({**_EACH_ONCE, asked.MESSAGES: 1}))

  def test_repeats_are_counted_up_to_the_bound(self):
    bound = asked.most_repeats(0.5, uncovered=0)
    self.assertLess(bound, asked.MESSAGES / 2)  # Or it would be none.
    counts = {**_EACH_ONCE, **dict.fromkeys(range(bound), 2)}
    verdict = delivery_verdict.judge(_outcome(), counts, True)
    self.assertEqual((verdict.problems, verdict.repeats), ([], bound))
    self.assertIn("trained on again", self._problems({**counts, bound: 2}))

  def test_what_the_model_went_back_from_counts_as_well(self):
    bound = asked.most_repeats(0.5, uncovered=0)
    trained = asked.MESSAGES + bound
    verdict = delivery_verdict.judge(_outcome(trained=trained), _EACH_ONCE, True)
    self.assertEqual((verdict.problems, verdict.trained_again), ([], bound))
    self.assertIn("trained on again", self._problems(trained=trained + 1))

  def test_longer_saves_allow_more(self):
    self.assertGreater(asked.most_repeats(2.0, 0), asked.most_repeats(0.5, 0))

  def test_more_that_no_checkpoint_covers_allow_more(self):
    usual = asked.most_repeats(0.5, uncovered=0)
    self.assertEqual(asked.most_repeats(0.5, uncovered=3500), usual)
    self.assertEqual(asked.most_repeats(0.5, uncovered=3600), usual + 100)
    trained = asked.MESSAGES + usual + 100
    self.assertEqual(self._problems(trained=trained, uncovered=3600), "")
    self.assertIn("trained on again", self._problems(trained=trained, uncovered=3599))

  def test_checkpoints_that_do_not_come_allow_no_more(self):
    most = asked.most_repeats(0.5, uncovered=7000)
    self.assertEqual(asked.most_repeats(0.5, uncovered=asked.MESSAGES), most)

  def test_the_job_must_have_ended_well(self):
    self.assertIn("worker 0: 1", self._problems(exit_codes={"worker 0": 1}))
    self.assertIn("not over", self._problems(failure="not over after 180 s"))
    self.assertIn("nothing was killed", self._problems(struck=""))
    self.assertIn("worker-0.log", self._problems(tracebacks=["worker-0.log"]))
    self.assertIn("not final", self._problems(is_final=False))
    self.assertIn("no checkpoint", self._problems(counts=None))

  def test_all_must_be_committed(self):
    committed = _outcome().ends
    committed[1] -= 1
    self.assertIn("committed", self._problems(committed=committed))

  def test_all_must_have_been_sent(self):
    self.assertIn("19,999 messages sent", self._problems(acknowledged=19_999))


if __name__ == "__main__":
  absltest.main()
