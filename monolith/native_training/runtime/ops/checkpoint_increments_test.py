"""Saves of what has changed: what they cost, and that nothing but all of them in order
is restored."""

import os

import numpy as np
import tensorflow as tf

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

CONFIG = testing.config(
  mov=[testing.segment(3, "vec", optimizer=testing.ADAGRAD)],
  uid=[testing.segment(2, optimizer=testing.ADAGRAD)],
)
NUM_SERVERS = 2
FILES = 2


class CheckpointIncrementsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path
    self.servers = [testing.table_set(CONFIG) for _ in range(NUM_SERVERS)]

  def shard(self, ids):
    requests, _ = ops.monolith_shard_ids(
      ids=[np.asarray(ids, np.int64)],
      row_splits=[[0, len(ids)]],
      num_shards=NUM_SERVERS,
      table_of_feature=[0],
      table_dims=[1],
      feature_names=["ids"],
    )
    return [request.numpy()[1:] for request in requests]

  def train(self, ids, time=1000):
    for server, mov in zip(self.servers, self.shard(ids), strict=True):
      request = testing.request(mov, mov[:7])
      size = ops.monolith_lookup(server, request).shape[0]
      testing.update(server, request, np.sin(np.arange(size)), time=time)

  def erase(self, ids):
    for server, mov in zip(self.servers, self.shard(ids), strict=True):
      ops.monolith_erase(server, testing.request(mov, []))

  def save(self, save_id, base=""):
    """Saves on all servers; the files, rows and erased ids."""
    files, rows, erased = [], 0, 0
    for i, server in enumerate(self.servers):
      file = os.path.join(self.folder, save_id, f"rows-{i}")
      saved = testing.save(server, file, i, NUM_SERVERS, save_id, base, FILES)
      files += [f"{file}-{k}-of-{FILES}" for k in range(FILES)]
      rows, erased = rows + saved[0], erased + saved[1]
    return files, rows, erased

  def contents(self, servers):
    return [
      {k: v for server in servers for k, v in testing.export(server, table).items()}
      for table in range(2)
    ]

  def restore(self, files, num_servers=1, save_ids=()):
    servers = [testing.table_set(CONFIG) for _ in range(num_servers)]
    for i, server in enumerate(servers):
      testing.restore(server, files, i, num_servers, save_ids)
    return servers

  def chain(self):
    """Files of a save of everything and two of changes."""
    self.train(range(2000))
    one, rows, erased = self.save("one")
    self.assertEqual((rows, erased), (2014, 0))
    self.train(range(10), time=2000)
    self.erase(range(100, 130))
    two, rows, erased = self.save("two", "one")
    self.assertBetween(rows, 10, 24)
    self.assertEqual(erased, 30)
    self.train(range(110, 120), time=3000)
    self.erase([3, 110])
    three, rows, erased = self.save("three", "two")
    self.assertEqual(erased, 2)
    return one, two, three

  def test_changes_add_up_on_any_number_of_servers(self):
    one, two, three = self.chain()
    wanted = self.contents(self.servers)
    self.assertLen(wanted[0], 2000 - 30 + 10 - 2)
    for num_servers in (1, 2, 3):
      restored = self.restore(one + two + three, num_servers)
      self.assertEqual(self.contents(restored), wanted)
    # Within a save the order is free.
    restored = self.restore(one[::-1] + two[::-1] + three)
    self.assertEqual(self.contents(restored), wanted)

  def test_gaps_and_disorder_are_refused(self):
    one, two, three = self.chain()
    for files, message in (
      (two, "has the changes since save one, but what comes before it is none"),
      (one + three, "since save two, but .* is save one; a save is missing or out of"),
      (one + three + two, "since save two, but .* is save one"),
      (two + one, "since save one, but what comes before it is none"),
      (one + two + one, "since none, but what comes before it is save two"),
      (one[1:], "file 0 of 2 of server 0 of 2 is missing"),
      (one[:-1] + two, "file 1 of 2 of server 1 of 2 is missing"),
      (one + two[:1] + two[2:], "file 1 of 2 of server 0 of 2 is missing"),
      (one + one[:1], "is there twice"),
    ):
      with self.assertRaisesRegex(tf.errors.DataLossError, message):
        self.restore(files)

  def test_files_of_another_save_than_wanted_are_refused(self):
    one, two, three = self.chain()
    files = one + two + three
    save_ids = ["one"] * len(one) + ["two"] * len(two) + ["three"] * len(three)
    wanted = self.contents(self.servers)
    self.assertEqual(self.contents(self.restore(files, save_ids=save_ids)), wanted)
    for i, file in ((0, one[0]), (len(files) - 1, three[-1])):
      others = [*save_ids]
      others[i] = "another"
      with self.assertRaisesRegex(
        tf.errors.DataLossError,
        f"table file {file} is of save {save_ids[i]}, its manifest wants save another",
      ):
        self.restore(files, save_ids=others)
    self.save("")
    alone = self.save("")[0]
    with self.assertRaisesRegex(tf.errors.DataLossError, "is of none, .* save one"):
      self.restore(alone, save_ids=["one"] * len(alone))

  def test_changes_since_another_save_are_not_known(self):
    self.train(range(10))
    self.save("one")
    for base in ("zero", "two"):
      with self.assertRaisesRegex(
        tf.errors.FailedPreconditionError, f"since save {base} are not known"
      ):
        self.save("next", base)
      self.save("one")
    self.save("two", "one")
    with self.assertRaisesRegex(tf.errors.FailedPreconditionError, "last save is two"):
      self.save("three", "one")
    for server in self.servers:
      ops.monolith_table_clear(server)
    with self.assertRaisesRegex(tf.errors.FailedPreconditionError, "last save is none"):
      self.save("three", "two")

  def test_after_a_failed_save_everything_is_due(self):
    self.train(range(10))
    self.save("one")
    self.train(range(5))
    blocked = os.path.join(self.folder, "blocked")
    open(blocked, "w").close()
    for server in self.servers:
      with self.assertRaises(tf.errors.OpError):
        testing.save(server, os.path.join(blocked, "x"), save_id="two", base="one")
    with self.assertRaisesRegex(tf.errors.FailedPreconditionError, "everything"):
      self.save("three", "one")
    _, rows, _ = self.save("three")
    self.assertEqual(rows, 20)

  def test_a_copy_on_the_side_changes_nothing(self):
    self.train(range(10))
    self.save("one")
    self.train(range(5))
    self.save("")
    _, rows, _ = self.save("two", "one")
    self.assertEqual(rows, 10)

  def test_a_base_without_an_id_is_refused(self):
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "base_save_id must be"):
      testing.save(self.servers[0], "a", base="one")


if __name__ == "__main__":
  tf.test.main()
