import collections
import pathlib

from absl.testing import absltest

from monolith.native_training.movie_ranking import movielens_fallback


class ReadMovielens100kTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.ratings = movielens_fallback.read_movielens_100k()

  def test_is_movielens_100k(self):
    # The figures that MovieLens publishes of this data set.
    self.assertLen(self.ratings.stars, 100_000)
    self.assertLen(set(self.ratings.users), 943)
    self.assertLen(self.ratings.titles, 1_682)
    self.assertLen(set(self.ratings.titles), 1_664)
    stars = collections.Counter(self.ratings.stars.tolist())
    self.assertEqual(stars, {1: 6_110, 2: 11_370, 3: 27_145, 4: 34_174, 5: 21_201})

  def test_first_rating(self):
    movie, user, stars, when = (column[0] for column in self.ratings[2:])
    self.assertEqual(self.ratings.titles[movie], b"Kolya (1996)")
    self.assertEqual(self.ratings.users[user], b"196")
    self.assertEqual((stars, when), (3, 881250949))

  def test_titles_are_spelled_as_movielens_does(self):
    for title in (
      "Toy Story (1995)",
      "unknown",
      "Misérables, Les (1995)",
      "Shanghai Triad (Yao a yao yao dao waipo qiao) (1995)",
      "Land Before Time III: The Time of the Great Giving (1995) (V)",
    ):
      self.assertIn(title.encode(), self.ratings.titles)


class DamagedPackageTest(absltest.TestCase):
  def _read(self, items: str, ratings: str):
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / "ml-100k.item").write_text(items)
    (folder / "ml-100k.inter").write_text(ratings)
    with absltest.mock.patch.object(
      movielens_fallback, "_file", lambda name: folder / name
    ):
      return movielens_fallback.read_movielens_100k()

  ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\n7\tA\t1990\n"
  RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"

  def test_reads_a_small_one(self):
    ratings = self._read(self.ITEMS, self.RATINGS + "3\t7\t4\t100\n")
    self.assertEqual(ratings.titles, [b"A (1990)"])
    self.assertEqual(ratings.users, [b"3"])

  def test_names_the_file_and_what_is_wrong(self):
    for items, ratings, message in (
      ("item_id:token\n", self.RATINGS, r"ml-100k.item has no column \['movie_title'"),
      (self.ITEMS + "x\n", self.RATINGS, r"ml-100k.item, line 3: cannot be read: 'x'"),
      (self.ITEMS, self.RATINGS + "3\t8\t4\t1\n", r"rates movies .* lacks: \[8\]"),
      (self.ITEMS, self.RATINGS + "3\t7\tx\t1\n", r"ml-100k.inter cannot be read"),
    ):
      with self.subTest(message), self.assertRaisesRegex(ValueError, message):
        self._read(items, ratings)

  def test_says_what_to_install_when_the_package_is_missing(self):
    with (
      absltest.mock.patch.object(movielens_fallback, "PACKAGE", "no-such-package"),
      self.assertRaisesRegex(FileNotFoundError, r"pip install --no-deps no-such-pack"),
    ):
      movielens_fallback.read_movielens_100k()


if __name__ == "__main__":
  absltest.main()
