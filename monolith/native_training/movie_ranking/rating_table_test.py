import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.movie_ranking import movielens_fallback, ratings
from monolith.native_training.movie_ranking.rating_split import is_held_out
from monolith.native_training.movie_ranking.rating_table import load_rating_table

_LOAD = """
import sys
from monolith.native_training.movie_ranking import rating_table
table = rating_table.load_rating_table("100k", sys.argv[1])
print(table.size, len(table.train.users), len(table.test.users))
"""


def _fallback(size: str) -> ratings.RatingBatches:
  del size
  return ratings.RatingBatches(ratings._load_fallback(), "100k")


class LoadRatingTableTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    patch = absltest.mock.patch.object(ratings, "load_rating_batches", _fallback)
    self.load = self.enter_context(patch)
    self.folder = os.path.join(self.create_tempdir().full_path, "ratings")

  def test_splits_all_ratings(self):
    table = load_rating_table("100k")
    train, test = table.train, table.test
    self.assertLen(train.users, 89_809)
    self.assertLen(test.users, 10_191)
    self.assertFalse(is_held_out(train.users, train.movies).any())
    self.assertTrue(is_held_out(test.users, test.movies).all())
    stars = np.concatenate([train.ratings, test.ratings])
    self.assertAlmostEqual(stars.mean(), 3.52986, places=4)
    self.assertLen(np.unique(np.concatenate([train.users, test.users])), 943)
    self.assertLen(np.unique(np.concatenate([train.movies, test.movies])), 1_664)

  def test_works_inside_a_graph(self):
    with tf.Graph().as_default():
      self.assertLen(load_rating_table("100k").train.users, 89_809)

  def test_a_folder_gives_the_same_again(self):
    fresh = load_rating_table("100k")
    for _ in range(2):
      kept = load_rating_table("100k", self.folder)
      for ours, theirs in zip(
        fresh.train + fresh.test, kept.train + kept.test, strict=True
      ):
        np.testing.assert_array_equal(ours, theirs)
    self.assertEqual(os.listdir(os.path.dirname(self.folder)).count("ratings"), 1)

  def test_a_kept_folder_is_read_and_not_prepared_again(self):
    load_rating_table("25m", self.folder)
    with absltest.mock.patch.object(ratings, "load_rating_batches", None):
      self.assertEqual(load_rating_table("25m", self.folder).size, "100k")

  def test_refuses_a_folder_with_other_ratings(self):
    load_rating_table("100k", self.folder)
    with self.assertRaisesRegex(ValueError, "holds other ratings than 1m"):
      load_rating_table("1m", self.folder)
    info = pathlib.Path(self.folder, "ratings.json")
    info.write_text(json.dumps({**json.loads(info.read_text()), "format": 99}))
    with self.assertRaisesRegex(ValueError, "format"):
      load_rating_table("100k", self.folder)

  def test_an_interrupted_preparation_is_done_again(self):
    with (
      absltest.mock.patch.object(os, "rename", side_effect=KeyboardInterrupt),
      self.assertRaises(KeyboardInterrupt),
    ):
      load_rating_table("100k", self.folder)
    self.assertEqual(os.listdir(os.path.dirname(self.folder)), ["ratings.lock"])
    os.mkdir(self.folder)
    self.assertLen(load_rating_table("100k", self.folder).train.users, 89_809)

  def test_processes_that_start_at_once_agree(self):
    processes = [
      subprocess.Popen(
        [sys.executable, "-c", _LOAD, self.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      )
      for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    self.assertEqual([out for out, _ in outputs], ["100k 89809 10191\n"] * 3)
    preparations = sum(movielens_fallback.PACKAGE in err for _, err in outputs)
    self.assertLessEqual(preparations, 1)


if __name__ == "__main__":
  absltest.main()
