import numpy as np
from absl.testing import absltest

from monolith.native_training.movie_ranking.rating_split import is_held_out


class IsHeldOutTest(absltest.TestCase):
  def test_a_tenth_is_held_out_of_any_ids(self):
    rng = np.random.default_rng(1)
    n = 200_000
    for name, users, movies in (
      ("small ids", rng.integers(0, 500, n), rng.integers(0, 500, n)),
      ("consecutive", np.arange(n), np.arange(n)),
      ("strided", np.arange(n) * 1024, np.full(n, 7)),
      ("hashes", *rng.integers(-(2**63), 2**63 - 1, (2, n))),
    ):
      with self.subTest(name):
        pairs = np.unique(np.stack([users, movies]), axis=1)
        self.assertAlmostEqual(is_held_out(*pairs).mean(), 0.1, delta=0.005)

  def test_depends_on_the_pair_only(self):
    rng = np.random.default_rng(2)
    users, movies = rng.integers(0, 1000, (2, 10_000))
    order = rng.permutation(10_000)
    np.testing.assert_array_equal(
      is_held_out(users, movies)[order], is_held_out(users[order], movies[order])
    )

  def test_stays_the_same_for_ever(self):
    # Another split would make results incomparable.
    users, movies = np.divmod(np.arange(60), 10)
    self.assertEqual(
      np.flatnonzero(is_held_out(users, movies)).tolist(), [5, 7, 27, 33, 36, 47, 58]
    )

  def test_users_and_movies_are_not_interchangeable(self):
    users, movies = np.divmod(np.arange(10_000), 100)
    differs = is_held_out(users, movies) != is_held_out(movies, users)
    self.assertGreater(differs.mean(), 0.1)


if __name__ == "__main__":
  absltest.main()
