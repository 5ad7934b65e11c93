"""Numbering ids changes their names only; hashing makes some of them collide."""

import unittest

import numpy as np

from monolith.native_training.benchmarks.numbered_ratings import NumberedRatings
from monolith.native_training.movie_ranking.movie_ranking_model import MovieRankingModel
from monolith.native_training.movie_ranking.rating_table import load_rating_table


def _both_splits(table, column):
  return np.concatenate([getattr(s, column) for s in (table.train, table.test)])


class NumberedRatingsTest(unittest.TestCase):
  @classmethod
  def setUpClass(cls):
    cls._table = load_rating_table("100k")
    cls._numbered = NumberedRatings.load(MovieRankingModel.params())

  def test_numbers_ids_from_0_without_gaps(self):
    for column, size in (
      ("users", self._numbered.num_users),
      ("movies", self._numbered.num_movies),
    ):
      numbers = _both_splits(self._numbered.table, column)
      np.testing.assert_array_equal(np.unique(numbers), np.arange(size))

  def test_keeps_ratings_and_which_ids_are_the_same(self):
    for column in ("users", "movies"):
      ids = _both_splits(self._table, column)
      numbers = _both_splits(self._numbered.table, column)
      pairs = np.unique(np.stack([ids, numbers]), axis=1)
      self.assertEqual(pairs.shape[1], len(np.unique(ids)))
    for split in ("train", "test"):
      np.testing.assert_array_equal(
        getattr(self._numbered.table, split).ratings,
        getattr(self._table, split).ratings,
      )

  def test_hashing_into_as_many_rows_leaves_about_two_thirds_of_them_used(self):
    hashed = self._numbered.hashed(1.0)
    self.assertEqual(hashed.num_movies, self._numbered.num_movies)
    used = len(np.unique(_both_splits(hashed.table, "movies"))) / hashed.num_movies
    self.assertAlmostEqual(used, 1 - np.exp(-1), delta=0.05)

  def test_synthetic_ids_are_numbers_already(self):
    params = MovieRankingModel.params().set(dataset="synthetic")
    numbered = NumberedRatings.load(params)
    self.assertGreater(numbered.num_users, 100_000)
    with self.assertRaisesRegex(ValueError, "synthetic ratings cannot be hashed"):
      numbered.hashed(0.5)


if __name__ == "__main__":
  unittest.main()
