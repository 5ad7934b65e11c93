import contextlib

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.movie_ranking import rating_batches
from monolith.native_training.movie_ranking.rating_split import is_held_out
from monolith.native_training.movie_ranking.rating_table import RatingColumns
from monolith.native_training.movie_ranking.synthetic_ratings import (
  CHUNK,
  SyntheticRatings,
)

_N = 1000
_COLUMNS = RatingColumns(
  users=np.arange(_N), movies=np.arange(_N) + 5000, ratings=np.arange(_N, dtype="f")
)


def _users(batches: tf.data.Dataset) -> np.ndarray:
  return np.concatenate([b["uid"][:, 0] for b in batches.as_numpy_iterator()])


class TrainingBatchesTest(absltest.TestCase):
  def test_each_rating_once_an_epoch_in_another_order(self):
    users = _users(rating_batches.training_batches(_COLUMNS, 100, epochs=3))
    epochs = users.reshape(3, _N)
    for epoch in epochs:
      self.assertCountEqual(epoch, range(_N))
    self.assertFalse((epochs[0] == epochs[1]).all())
    self.assertFalse((epochs[0] == np.arange(_N)).all())

  def test_columns_stay_together(self):
    for batch in rating_batches.training_batches(_COLUMNS, 64).as_numpy_iterator():
      self.assertEqual(batch["uid"].shape, (64, 1))
      np.testing.assert_array_equal(batch["mov"], batch["uid"] + 5000)
      np.testing.assert_array_equal(batch["label"], batch["uid"].astype("f"))

  def test_workers_share_the_ratings(self):
    shares = [
      _users(rating_batches.training_batches(_COLUMNS, 1, num_shards=3, shard=i))
      for i in range(3)
    ]
    self.assertCountEqual(np.concatenate(shares), range(_N))

  def test_the_seed_decides_the_order(self):
    first, again, other = (
      _users(rating_batches.training_batches(_COLUMNS, 10, seed=seed))
      for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    self.assertFalse((first == other).all())

  def test_shapes_are_known_while_the_graph_is_built(self):
    self.assertEqual(
      rating_batches.training_batches(_COLUMNS, 64).element_spec["mov"].shape, [64, 1]
    )

  def test_fewer_ratings_than_a_batch_give_none(self):
    self.assertEmpty(list(rating_batches.training_batches(_COLUMNS, 1001)))

  def test_in_a_graph(self):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      iterator = tf.compat.v1.data.make_initializable_iterator(
        rating_batches.training_batches(_COLUMNS, 100)
      )
      batch = iterator.get_next()
      session.run(iterator.initializer)
      count = 0
      with contextlib.suppress(tf.errors.OutOfRangeError):
        while session.run(batch):
          count += 1
    self.assertEqual(count, 10)


class HeldOutBatchesTest(absltest.TestCase):
  def test_all_in_order_with_the_remainder(self):
    users = _users(rating_batches.held_out_batches(_COLUMNS, 300))
    np.testing.assert_array_equal(users, np.arange(_N))


class OwnershipTest(absltest.TestCase):
  def test_columns_are_not_given_away(self):
    # TensorFlow does not copy arrays, and its ops reuse memory for their outputs.
    for make in (rating_batches.training_batches, rating_batches.held_out_batches):
      with absltest.mock.patch.object(
        tf, "numpy_function", wraps=tf.numpy_function
      ) as function:
        make(_COLUMNS, 10)
      block = function.call_args.args[0]
      for kept, given in zip(_COLUMNS, block(0), strict=True):
        self.assertFalse(np.shares_memory(kept, given), make)


class SyntheticBatchesTest(absltest.TestCase):
  def test_training_and_held_out_are_the_two_splits(self):
    source = SyntheticRatings(3 * CHUNK + 100)
    train = rating_batches.synthetic_training_batches(source, 1).batch(1 << 20)
    test = rating_batches.synthetic_held_out_batches(source, 1 << 20)
    train, test = (next(x.as_numpy_iterator()) for x in (train, test))
    train_users, train_movies = train["uid"].ravel(), train["mov"].ravel()
    self.assertFalse(is_held_out(train_users, train_movies).any())
    self.assertTrue(is_held_out(test["uid"].ravel(), test["mov"].ravel()).all())
    self.assertLen(train_users, 3 * CHUNK + 100 - len(test["uid"]))

  def test_workers_get_different_chunks_and_epochs_repeat_them(self):
    source = SyntheticRatings(4 * CHUNK)
    count = []
    for shard in range(2):
      batches = rating_batches.synthetic_training_batches(source, 512, 2, 2, shard)
      users = _users(batches)
      count.append(len(users))
      first = source.chunk(shard)
      kept = first.users[~is_held_out(first.users, first.movies)]
      np.testing.assert_array_equal(users[: len(kept)], kept)
    self.assertAlmostEqual(sum(count), 2 * 4 * CHUNK * 0.9, delta=3000)


if __name__ == "__main__":
  absltest.main()
