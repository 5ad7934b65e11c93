import contextlib
import time

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.movie_ranking import ratings


@contextlib.contextmanager
def _no_movielens():
  """MovieLens is neither prepared on this machine nor within reach."""

  def fail(url):
    raise ratings.MovieLensUnavailable(f"no way to {url}")

  with (
    absltest.mock.patch.object(ratings, "_check_connection", fail),
    absltest.mock.patch.object(ratings, "_is_prepared", lambda builder: False),
  ):
    yield


class LoadRatingsTest(absltest.TestCase):
  def test_falls_back_to_the_100k_ratings_and_says_so_in_one_line(self):
    for size in ratings.SIZES:
      with _no_movielens(), self.assertLogs("absl", "WARNING") as logs:
        loaded = ratings.load_rating_batches(size)
      self.assertEqual(loaded.size, "100k")
      self.assertLen(logs.output, 1)
      self.assertNotIn("\n", logs.output[0])
      self.assertIn(f"MovieLens {size} cannot be downloaded", logs.output[0])

  def test_elements(self):
    with _no_movielens():
      elements = ratings.load_ratings("100k")
    self.assertEqual(
      elements.element_spec,
      {
        "movie_title": tf.TensorSpec([], tf.string),
        "user_id": tf.TensorSpec([], tf.string),
        "user_rating": tf.TensorSpec([], tf.float32),
        "timestamp": tf.TensorSpec([], tf.int64),
      },
    )
    self.assertEqual(
      next(elements.as_numpy_iterator()),
      {
        "movie_title": b"Kolya (1996)",
        "user_id": b"196",
        "user_rating": 3.0,
        "timestamp": 881250949,
      },
    )
    self.assertEqual(elements.reduce(0, lambda n, _: n + 1).numpy(), 100_000)

  def test_unknown_size(self):
    with self.assertRaisesRegex(ValueError, "'2k' is not one of 100k, 1m, 25m"):
      ratings.load_ratings("2k")

  def test_any_failure_of_the_library_is_a_reason_to_fall_back(self):
    with (
      _no_movielens(),
      absltest.mock.patch("tensorflow_datasets.builder", side_effect=OSError("a\nb")),
      self.assertLogs("absl", "WARNING") as logs,
    ):
      ratings.load_ratings("1m")
    self.assertIn("cannot be downloaded (a b)", logs.output[0])

  def test_an_unreachable_host_is_given_up_within_seconds(self):
    begin = time.monotonic()
    # Port 9 (discard) of this machine; and a reserved name that never resolves.
    for url in ("https://127.0.0.1:9/x.zip", "https://movielens.invalid/x.zip"):
      with self.assertRaisesRegex(
        ratings.MovieLensUnavailable, "reached|answer|status"
      ):
        ratings._check_connection(url)
    self.assertLess(time.monotonic() - begin, 30)

  def test_uses_movielens_where_it_can_be_had(self):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.structured import movielens

    rating = {
      "movie_id": "1",
      "movie_title": "Toy Story (1995)",
      "movie_genres": ["Comedy"],
      "user_id": "9",
      "user_rating": 4.5,
      "timestamp": 123,
    }

    def split(builder, downloads):
      del builder, downloads
      examples = ((i, {**rating, "user_id": str(i)}) for i in range(7))
      return {"train": examples}

    home = self.create_tempdir().full_path
    with (
      absltest.mock.patch.object(movielens.Movielens, "_split_generators", split),
      absltest.mock.patch.object(tfds, "builder", _builder_in(home, tfds.builder)),
      absltest.mock.patch.object(ratings, "_check_connection") as check,
    ):
      for _ in range(2):  # The second time it is there already.
        loaded = ratings.load_rating_batches("25m")
    self.assertEqual(loaded.size, "25m")
    (url,) = check.call_args.args
    self.assertEndsWith(url, "ml-25m.zip")
    check.assert_called_once()
    (batch,) = loaded.batches.as_numpy_iterator()
    self.assertCountEqual(batch["user_id"], [str(i).encode() for i in range(7)])
    self.assertEqual(set(batch["user_rating"]), {4.5})
    self.assertEqual(set(batch["movie_title"]), {b"Toy Story (1995)"})
    self.assertEqual(set(batch["timestamp"]), {123})


def _builder_in(folder: str, builder):
  return lambda name, **options: builder(name, data_dir=folder, **options)


class PreprocessTest(absltest.TestCase):
  def test_preprocessed_elements(self):
    with _no_movielens():
      element = next(ratings.get_preprocessed_dataset("100k").as_numpy_iterator())
    max_b = (1 << 63) - 1
    self.assertEqual(
      element["mov"], tf.strings.to_hash_bucket_fast(["Kolya (1996)"], max_b).numpy()
    )
    self.assertEqual(
      element["uid"], tf.strings.to_hash_bucket_fast(["196"], max_b).numpy()
    )
    self.assertEqual(element["label"].tolist(), [3.0])

  def test_works_as_in_the_tutorial_in_a_graph(self):
    with _no_movielens(), tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dataset = ratings.get_preprocessed_dataset("25m").shard(2, 1)
      dataset = dataset.batch(512, drop_remainder=True).map(ratings.to_ragged)
      batch = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
      self.assertIsInstance(batch["mov"], tf.RaggedTensor)
      count = 0
      with contextlib.suppress(tf.errors.OutOfRangeError):
        while True:
          movies = session.run(batch)["mov"]
          count += 1
    self.assertEqual(count, 50_000 // 512)
    self.assertEqual(movies.row_splits.tolist(), list(range(513)))


if __name__ == "__main__":
  absltest.main()
