"""A chain of checkpoints from some servers is restored by any other number of them."""

import os

import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.small_tables import (
  THRESHOLD,
  SmallTables,
)

_SERVERS = 3


class ReshardingTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._dir = self.create_tempdir().full_path
    random = np.random.default_rng(3)
    self._ids = random.integers(-(2**63), 2**63 - 1, 3000).tolist()

  def _save_chain(self, tables: SmallTables) -> str:
    """A checkpoint with all rows, and two with changes."""
    ids = self._ids
    for time in range(THRESHOLD):
      tables.train(1000 + time, mov=ids, uid=ids[:200])
    tables.train(1100, uid=ids[200:230])  # These stay on trial.
    tables.save(self._dir, 10)
    tables.train(2000, mov=[*ids[:100], 1, 2, 3])
    tables.erase(mov=ids[50:150], uid=ids[:20])
    tables.save(self._dir, 20)
    tables.train(3000, mov=ids[60:70], uid=ids[150:160])
    tables.erase(mov=[*ids[:10], 1])
    path = tables.save(self._dir, 30)
    chain = [os.path.basename(each) for each in checkpoint.chain(path)]
    self.assertEqual(chain, ["model.ckpt-10", "model.ckpt-20", "model.ckpt-30"])
    return path

  @parameterized.parameters(1, 2, 3, 5)
  def test_every_row_is_there_bit_for_bit(self, num_servers):
    with SmallTables(_SERVERS, max_increments=2) as before:
      path = self._save_chain(before)
      wanted, variables = before.rows(), before.variables()
    self.assertLen(wanted["mov"], 3000 + 3 - 100 + 10 - 10 - 1)
    self.assertLen(wanted["uid"], 180)
    with SmallTables(num_servers) as after:
      after.train(1, mov=[4, 5])  # What was there goes.
      after.restore(path)
      self.assertEqual(after.rows(), wanted)
      self.assertEqual(after.variables(), variables)
      # Saved by these servers, and restored by as many as at first.
      again = after.save(self.create_tempdir().full_path, 40)
    with SmallTables(_SERVERS) as back:
      back.restore(again)
      self.assertEqual(back.rows(), wanted)

  @parameterized.parameters(1, 2, 3, 5)
  def test_training_goes_on_as_it_would_have(self, num_servers):
    with SmallTables(_SERVERS, max_increments=2) as before:
      path = self._save_chain(before)
      with SmallTables(num_servers) as after:
        after.restore(path)
        for tables in (before, after):
          tables.train(4000, mov=self._ids[:300], uid=self._ids[:40])
        self.assertEqual(after.rows(), before.rows())

  def test_urgent_saves_are_like_others(self):
    with SmallTables(_SERVERS) as tables:
      tables.train(10, mov=self._ids)
      tables.checkpointer.hurry(tables.session)
      path = tables.save(self._dir, 10, is_urgent=lambda: True)
      wanted = tables.rows()
      tables.restore(path)
      self.assertEqual(tables.rows(), wanted)

  def test_all_rows_are_saved_where_that_is_asked_for(self):
    with SmallTables(_SERVERS, max_increments=2) as tables:
      for step, all_rows, links in ((10, False, 1), (20, False, 2), (30, True, 1)):
        tables.train(step, mov=[step])
        path = tables.save(self._dir, step, all_rows=all_rows)
        self.assertLen(checkpoint.chain(path), links)
      tables.train(40, mov=[40])
      path = tables.save(self._dir, 40)
      names = [os.path.basename(each) for each in checkpoint.chain(path)]
      self.assertEqual(names, ["model.ckpt-30", "model.ckpt-40"])


if __name__ == "__main__":
  absltest.main()
