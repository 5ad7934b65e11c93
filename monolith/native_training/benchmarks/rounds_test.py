"""Ratios of rounds whose answer is known."""

import unittest

from monolith.native_training.benchmarks import rounds
from monolith.native_training.benchmarks.rounds import Round, Speed


def _round(ours: float, peer: float, song: float = 1.0) -> Round:
  return Round({"ours": Speed(ours, 2.0), "peer": Speed(peer, 1.0)}, (1.0, song, 1.0))


class CompareTest(unittest.TestCase):
  def test_ratios_are_of_the_same_round(self):
    found = rounds.compare([_round(5, 10), _round(80, 100), _round(9, 10)], "peer", 1.1)
    ours = found["legs"]["ours"]
    self.assertEqual(ours["ratio"], {"median": 0.8, "min": 0.5, "max": 0.9})
    self.assertEqual(ours["per_second"], {"median": 9, "min": 5, "max": 80})
    self.assertEqual(ours["cpu_ratio"]["median"], 0.5)
    self.assertEqual(found["legs"]["peer"]["ratio"]["median"], 1.0)

  def test_disturbed_rounds_are_left_out(self):
    found = rounds.compare([_round(5, 10), _round(1, 100, song=2.0)], "peer", 1.1)
    self.assertEqual((found["rounds"], found["undisturbed"]), (2, 1))
    self.assertEqual(found["legs"]["ours"]["ratio"]["median"], 0.5)

  def test_where_all_are_disturbed_it_says_so(self):
    found = rounds.compare([_round(1, 4, song=2.0)], "peer", 1.1)
    self.assertEqual(found["undisturbed"], 0)
    self.assertEqual(found["legs"]["ours"]["ratio"]["median"], 0.25)
    self.assertIn("DISTURBED", rounds.as_text("title", found, "peer"))


if __name__ == "__main__":
  unittest.main()
