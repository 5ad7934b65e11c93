import threading
import time
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training.data.bad_messages import (
  WINDOW,
  BadMessage,
  BadMessages,
  TooManyBadMessages,
  most_by_chance,
)


def bad(count=1, reason="garbage"):
  return [BadMessage(b"x", reason, "clicks", 2, offset) for offset in range(count)]


class CountsTest(absltest.TestCase):
  def test_counts_by_reason(self):
    messages = BadMessages(1)
    messages.report(10)
    messages.report(5, bad(2) + bad(1, "feature 'mov' is missing"))
    messages.report(3, bad(1))
    self.assertEqual((messages.seen, messages.bad), (18, 4))
    self.assertEqual(messages.counts(), {"garbage": 3, "feature 'mov' is missing": 1})

  def test_bad_messages_are_passed_on_even_when_they_are_too_many(self):
    letters = mock.Mock()
    messages = BadMessages(0, letters)
    messages.report(7)
    letters.send.assert_not_called()
    with self.assertRaises(TooManyBadMessages):
      messages.report(5, bad(2))
    letters.send.assert_called_once_with(bad(2))

  def test_many_threads_lose_nothing(self):
    messages = BadMessages(1, log_every_secs=0)

    def work():
      for _ in range(500):
        messages.report(3, bad(1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEqual((messages.seen, messages.bad), (12_000, 4_000))


class LogTest(absltest.TestCase):
  def test_the_first_at_once_then_one_line_a_minute(self):
    messages = BadMessages(1)
    with mock.patch.object(time, "monotonic") as now:
      now.return_value = 100.0
      with self.assertLogs(level="WARNING") as logged:
        messages.report(1000)
        messages.report(10, bad(1))
        for second in range(1, 130):
          now.return_value = 100.0 + second
          messages.report(10, bad(2) if second < 70 else [])
    lines = [line.split(":absl:")[-1] for line in logged.output]
    self.assertEqual(
      lines,
      [
        "1 of 1,010 messages were bad and skipped (1 in all); the latest: "
        "topic 'clicks', partition 2, offset 0: garbage",
        "120 of 600 messages of the last 60 s were bad and skipped (121 in all); the "
        "latest: topic 'clicks', partition 2, offset 1: garbage",
        # What came since is told without another bad one.
        "18 of 600 messages of the last 60 s were bad and skipped (139 in all); the "
        "latest: topic 'clicks', partition 2, offset 1: garbage",
      ],
    )

  def test_nothing_bad_nothing_logged(self):
    with self.assertNoLogs():
      BadMessages().report(100_000)

  def test_a_message_from_elsewhere_has_a_place_too(self):
    self.assertEqual(BadMessage(b"", "r", offset=3).place, "message 3 of its batch")


class LimitTest(parameterized.TestCase):
  @parameterized.parameters(1, 7, 64, 1024)
  def test_the_share_that_is_allowed_never_stops(self, batch):
    random = np.random.default_rng(5)
    messages = BadMessages(0.01)
    for count in random.binomial(batch, 0.01, 500_000 // batch):
      messages.report(batch, bad(count))

  @parameterized.parameters(1, 7, 64, 1024)
  def test_a_larger_share_stops_soon(self, batch):
    random = np.random.default_rng(6)
    for share, within in ((0.05, 2_500), (0.02, 20_000), (1.0, 1_100)):
      messages = BadMessages(0.01)
      with self.assertRaises(TooManyBadMessages):
        for count in random.binomial(batch, share, 2 * within // batch):
          messages.report(batch, bad(count))
      self.assertLess(messages.seen, within)

  def test_good_messages_of_long_ago_do_not_make_up_for_it(self):
    messages = BadMessages(0.01)
    for _ in range(1000):
      messages.report(10_000)
    with self.assertRaises(TooManyBadMessages):
      for _ in range(100):
        messages.report(1024, bad(51))
    self.assertLess(messages.seen, 10_000_000 + 0.5 * WINDOW)

  def test_the_error_says_what_to_do(self):
    messages = BadMessages(0.01)
    messages.report(900)
    with self.assertRaisesRegex(
      TooManyBadMessages,
      r"^10.00% of the last 1,000 messages are bad \(100\), more than "
      r"max_bad_message_ratio, 1.00%, and chance explain. The latest: topic 'clicks', "
      r"partition 2, offset 99: feature 'mov' is missing. Compare what is sent with "
      r"the features .* by --max_bad_message_ratio, or by "
      r"bad_messages=BadMessages\(max_bad_message_ratio=...\) of decode_example$",
    ):
      messages.report(100, bad(100, "feature 'mov' is missing"))

  def test_who_goes_on_is_judged_afresh(self):
    messages = BadMessages(0.01)
    with self.assertRaises(TooManyBadMessages):
      messages.report(100, bad(100))
    messages.report(10_000, bad(1))
    self.assertEqual((messages.seen, messages.bad), (10_100, 101))

  def test_zero_allows_none_and_one_allows_all(self):
    messages = BadMessages(0)
    messages.report(1_000_000)
    with self.assertRaises(TooManyBadMessages):
      messages.report(1, bad(1))
    messages = BadMessages(1)
    for _ in range(100):
      messages.report(10_000, bad(10_000))

  def test_what_chance_explains(self):
    # 5 standard deviations of the binomial distribution, and a little for few messages.
    self.assertAlmostEqual(most_by_chance(0.01, 10_000), 100 + 5 * 9.9499 + 25 / 6, 2)
    self.assertGreater(most_by_chance(0.01, 1), 1)
    self.assertEqual(most_by_chance(0, 10_000), 0)


class ArgumentsTest(parameterized.TestCase):
  @parameterized.parameters(-0.1, 1.1, float("nan"), "1%", True, None)
  def test_ratio(self, ratio):
    with self.assertRaisesRegex(ValueError, "max_bad_message_ratio must be a number"):
      BadMessages(ratio)

  @parameterized.parameters(-1, float("inf"), "60", None)
  def test_log_every_secs(self, seconds):
    with self.assertRaisesRegex(ValueError, "log_every_secs must be a number"):
      BadMessages(log_every_secs=seconds)

  def test_dead_letters(self):
    with self.assertRaisesRegex(ValueError, "dead_letters must have a method send"):
      BadMessages(dead_letters="topic")


if __name__ == "__main__":
  absltest.main()
