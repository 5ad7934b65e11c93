"""Which songs of a run count as disturbed."""

import unittest

import numpy as np

from monolith.native_training.benchmarks.canary import Canary
from monolith.native_training.benchmarks.table.gather_canary import longest_undisturbed


class LongestUndisturbedTest(unittest.TestCase):
  def setUp(self):
    self._random = np.random.default_rng(1)

  def _quiet(self, spread: float, songs: int = 1000) -> np.ndarray:
    return self._random.normal(1, spread, songs)

  def test_a_quiet_run_loses_hardly_a_song_however_much_they_vary(self):
    for spread in (0.01, 0.05, 0.1):
      with self.subTest(spread=spread):
        songs = self._quiet(spread)
        self.assertLess(np.mean(songs > longest_undisturbed(songs)), 0.01)

  def test_songs_beside_one_more_busy_thread_are_disturbed(self):
    """On two cores it makes them half as long again."""
    for spread in (0.01, 0.05, 0.08):
      for part in (0.1, 0.3, 0.6):
        with self.subTest(spread=spread, part=part):
          songs = self._quiet(spread)
          is_beside = self._random.random(len(songs)) < part
          songs = np.where(is_beside, 1.5 * songs, songs)
          disturbed = songs > longest_undisturbed(songs)
          self.assertGreater(np.mean(disturbed[is_beside]), 0.5)
          self.assertLess(np.mean(disturbed[~is_beside]), 0.01)

  def test_a_few_songs_are_enough(self):
    self.assertGreaterEqual(longest_undisturbed([0.2, 0.2]), 0.2)

  def test_all_songs_of_the_run_tell(self):
    canary = Canary(lambda: None, longest_undisturbed)
    for _ in range(5):
      canary.sing()
    self.assertEqual(len(canary.songs), 5)
    self.assertFalse(canary.is_disturbed(min(canary.songs)))
    self.assertTrue(canary.is_disturbed(1000.0))


if __name__ == "__main__":
  unittest.main()
