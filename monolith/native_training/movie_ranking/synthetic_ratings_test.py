import tracemalloc

import numpy as np
from absl.testing import absltest

from monolith.native_training.movie_ranking import synthetic_ratings
from monolith.native_training.movie_ranking.synthetic_ratings import (
  CHUNK,
  NUM_MOVIES,
  NUM_USERS,
  SyntheticRatings,
)


def _all(source: SyntheticRatings) -> list[np.ndarray]:
  chunks = [source.chunk(i) for i in range(source.num_chunks)]
  return [np.concatenate(column) for column in zip(*chunks, strict=True)]


class SyntheticRatingsTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.users, cls.movies, cls.ratings = _all(SyntheticRatings(1_000_000, seed=1))

  def test_any_number_of_ratings(self):
    for n in (1, 100, CHUNK, CHUNK + 1):
      self.assertLen(_all(SyntheticRatings(n))[0], n)
    with self.assertRaisesRegex(ValueError, "at least 1, got 0"):
      SyntheticRatings(0)
    with self.assertRaises(IndexError):
      SyntheticRatings(100).chunk(1)

  def test_ids_and_stars_are_in_range(self):
    self.assertBetween(self.users.min(), 0, NUM_USERS - 1)
    self.assertBetween(self.movies.max(), 0, NUM_MOVIES - 1)
    self.assertEqual(
      np.unique(self.ratings).tolist(), [half / 2 for half in range(1, 11)]
    )
    self.assertEqual(
      [a.dtype for a in (self.users, self.movies, self.ratings)],
      [np.int64, np.int64, np.float32],
    )

  def test_movies_follow_zipf(self):
    counts = np.sort(np.bincount(self.movies, minlength=NUM_MOVIES))[::-1]
    ranks = np.array([1, 2, 4, 8, 16, 32, 64, 128])
    slope = np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)[0]
    self.assertAlmostEqual(slope, -1, delta=0.05)

  def test_popularity_has_nothing_to_do_with_the_number_of_a_movie(self):
    counts = np.bincount(self.movies, minlength=NUM_MOVIES)
    self.assertNotEqual(counts.argmax(), 0)
    halves = counts[: NUM_MOVIES // 2].sum() / counts.sum()
    self.assertBetween(halves, 0.2, 0.8)

  def test_movies_and_users_explain_part_of_the_ratings(self):
    by_movie = np.bincount(self.movies, weights=self.ratings, minlength=NUM_MOVIES)
    counts = np.bincount(self.movies, minlength=NUM_MOVIES)
    mean = (by_movie / np.maximum(counts, 1))[self.movies]
    self.assertAlmostEqual(self.ratings.std(), 1.03, delta=0.05)
    self.assertLess((self.ratings - mean).std(), 0.97 * self.ratings.std())
    self.assertGreater((self.ratings - mean).std(), 0.8)

  def test_depends_on_the_seed_only(self):
    source = SyntheticRatings(3 * CHUNK, seed=5)
    again = SyntheticRatings(9 * CHUNK, seed=5)
    for ours, theirs in zip(source.chunk(2), again.chunk(2), strict=True):
      np.testing.assert_array_equal(ours, theirs)
    other = SyntheticRatings(3 * CHUNK, seed=6)
    self.assertFalse((source.chunk(2).users == other.chunk(2).users).all())
    self.assertFalse((source.chunk(1).users == source.chunk(2).users).all())

  def test_memory_does_not_grow_with_the_number_of_ratings(self):
    source = SyntheticRatings(10**12)
    source.chunk(0)
    tracemalloc.start()
    for index in (*range(20), source.num_chunks - 1):
      source.chunk(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    self.assertLess(peak, 16 << 20)
    self.assertEqual(synthetic_ratings.CHUNK * source.num_chunks // 10**12, 1)


if __name__ == "__main__":
  absltest.main()
