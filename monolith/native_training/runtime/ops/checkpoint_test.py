import os
import struct

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

CONFIG = testing.config(
  mov=[
    testing.segment(3, "vec", optimizer=testing.ADAGRAD),
    testing.segment(1, "bias"),
  ],
  uid=[testing.segment(2, optimizer=testing.ADAGRAD)],
)


def shard(ids, num_shards):
  """The ids of each shard."""
  requests, _ = ops.monolith_shard_ids(
    ids=[np.asarray(ids, np.int64)],
    row_splits=[[0, len(ids)]],
    num_shards=num_shards,
    table_of_feature=[0],
    table_dims=[1],
    feature_names=["ids"],
  )
  return [request.numpy()[1:] for request in requests]


def restore(handle, *arguments):
  return int(testing.restore(handle, *arguments).rows)


def merged(handles, table):
  """All rows of a table over its shards, of which no two have the same id."""
  rows = {}
  for handle in handles:
    part = testing.export(handle, table)
    assert not rows.keys() & part.keys()
    rows.update(part)
  return rows


class CheckpointTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def train(self, config, num_shards, num_ids=5000):
    """Servers with some trained rows."""
    handles = [testing.table_set(config) for _ in range(num_shards)]
    ids = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, num_ids)
    for step in range(2):
      for handle, mov, uid in zip(
        handles, shard(ids, num_shards), shard(ids[:100], num_shards), strict=True
      ):
        request = testing.request(mov, uid)
        size = ops.monolith_lookup(handle, request).shape[0]
        testing.update(
          handle, request, np.sin(np.arange(size)), time=1000 + step, step=step
        )
    return handles

  def save(self, handles):
    files = []
    for i, handle in enumerate(handles):
      files.append(os.path.join(self.folder, "new", f"tables-{i}"))
      rows, _ = testing.save(handle, files[-1], i, len(handles))
      self.assertAllEqual(rows, sum(ops.monolith_table_stats(handle).sizes.numpy()))
    return files

  def save_one(self, num_ids=300):
    (file,) = self.save(self.train(CONFIG, 1, num_ids))
    return file

  def assertRefused(self, file, contents, message):
    """A file of any of the contents is not restored; the tables stay as they were."""
    (handle,) = self.train(CONFIG, 1, 200)
    before = [testing.export(handle, table) for table in range(2)]
    for content in contents:
      with open(file, "wb") as f:
        f.write(content)
      with self.assertRaisesRegex(
        tf.errors.DataLossError, f"{file} cannot be used: .*{message}"
      ):
        restore(handle, [file])
    self.assertEqual([testing.export(handle, table) for table in range(2)], before)

  @parameterized.product(saved=[1, 2, 3], restored=[1, 2, 3])
  def test_any_number_of_servers(self, saved, restored):
    before = self.train(CONFIG, saved)
    files = self.save(before)
    after = [testing.table_set(CONFIG) for _ in range(restored)]
    for i, handle in enumerate(after):
      # What was there goes.
      ops.monolith_assign(handle, testing.request([1], []), [0.0] * 4, update_time=1)
      rows = restore(handle, files, i, restored)
      self.assertEqual(rows, sum(ops.monolith_table_stats(handle).sizes.numpy()))
      ids = list(testing.export(handle, 0))
      self.assertAllEqual(np.sort(shard(ids, restored)[i]), np.sort(ids))
    for table in range(2):
      self.assertEqual(merged(after, table), merged(before, table))
    self.assertLen(merged(after, 0), 5000)
    self.assertLen(merged(after, 1), 100)

  def test_training_goes_on_as_if_nothing_happened(self):
    (before,) = self.train(CONFIG, 1, 50)
    (file,) = self.save([before])
    after = testing.table_set(CONFIG)
    restore(after, [file])
    request = testing.request(list(testing.export(before)), [77])
    for handle in (before, after):
      testing.update(handle, request, np.ones(50 * 4 + 2), step=2)
    for table in range(2):
      self.assertEqual(testing.export(before, table), testing.export(after, table))

  def test_no_files_make_empty_tables(self):
    (handle,) = self.train(CONFIG, 1, 10)
    self.assertEqual(restore(handle, np.array([], dtype=object).astype(str)), 0)
    self.assertAllEqual(ops.monolith_table_stats(handle).sizes, [0, 0])

  def test_save_replaces_the_file_and_leaves_nothing_else(self):
    file = self.save_one(10)
    self.assertEqual(file, self.save_one(20))
    handle = testing.table_set(CONFIG)
    self.assertEqual(restore(handle, [file]), 40)
    self.assertEqual(os.listdir(os.path.dirname(file)), [os.path.basename(file)])

  def test_failed_save_leaves_no_file(self):
    (handle,) = self.train(CONFIG, 1, 10)
    folder = os.path.join(self.folder, "taken")
    os.mkdir(folder)
    os.mkdir(os.path.join(folder, "tables"))
    with self.assertRaisesRegex(tf.errors.OpError, "writing table file .*taken/tables"):
      testing.save(handle, os.path.join(folder, "tables"))
    self.assertEqual(os.listdir(folder), ["tables"])

  def test_tables_and_segments_are_matched_by_name(self):
    (before,) = self.train(CONFIG, 1, 100)
    (file,) = self.save([before])
    config = testing.config(
      new=[testing.segment(2)],
      mov=[
        testing.segment(1, "bias"),
        testing.segment(2, "more", value=0.5, optimizer=testing.ADAGRAD),
        testing.segment(3, "vec", optimizer=testing.ADAGRAD),
      ],
    )
    after = testing.table_set(config)
    self.assertEqual(restore(after, [file]), 100)
    self.assertEmpty(testing.export(after, 0))
    wanted = {}
    for i, (embedding, state, time) in testing.export(before).items():
      vec, bias = embedding[:3], embedding[3:]
      initial = [float(np.float32(0.1))] * 2
      wanted[i] = ([*bias, 0.5, 0.5, *vec], initial + state, time)
    self.assertEqual(testing.export(after, 1), wanted)

  def test_state_of_another_optimizer_starts_anew(self):
    (before,) = self.train(CONFIG, 1, 50)
    (file,) = self.save([before])
    config = testing.config(
      mov=[
        testing.segment(3, "vec"),
        testing.segment(1, "bias", optimizer=testing.ADAGRAD),
      ]
    )
    after = testing.table_set(config)
    restore(after, [file])
    initial = [float(np.float32(0.1))]
    self.assertEqual(
      testing.export(after),
      {
        i: (embedding, initial, time)
        for i, (embedding, _, time) in testing.export(before).items()
      },
    )

  def test_another_dim_is_refused(self):
    file = self.save_one()
    config = testing.config(mov=[testing.segment(4, "vec")])
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError,
      f"{file}: segment vec of table mov has dim 3 in the file, but 4 in the model",
    ):
      restore(testing.table_set(config), [file])

  def test_truncated_file_is_refused(self):
    file = self.save_one()
    with open(file, "rb") as f:
      content = f.read()
    # Exactly between any two records, and within each.
    ends = [0]
    while ends[-1] < len(content):
      (length,) = struct.unpack_from("<Q", content, ends[-1])
      ends.append(ends[-1] + length + 16)
    self.assertRefused(file, [content[:end] for end in ends[1:-1]], "without a footer")
    sizes = [
      *range(20),
      *(end - 1 for end in ends[1:]),
      *(end + 5 for end in ends[:-1]),
    ]
    self.assertRefused(file, [content[:size] for size in sizes], "")

  def test_flipped_bit_is_refused(self):
    file = self.save_one(40)
    with open(file, "rb") as f:
      content = f.read()
    random = np.random.default_rng(5)
    damaged = []
    for at in random.integers(0, len(content), 200):
      damaged.append(bytearray(content))
      damaged[-1][at] ^= 1 << random.integers(8)
    self.assertRefused(file, damaged, "")

  def test_a_file_with_anything_behind_its_footer_is_refused(self):
    file = self.save_one()
    with open(file, "rb") as f:
      content = f.read()
    surplus = [content + bytes(n) for n in (1, 4, 11, 12, 13, 100)]
    self.assertRefused(file, surplus, "something follows its footer")

  @parameterized.parameters(
    (lambda r: r[:1] + r[2:], "but its footer says"),
    (lambda r: r[1:], "does not start with a table file's header"),
    (lambda r: r + r[-1:], "something follows its footer"),
    (lambda r: r[:1] + r, "not a block of rows"),
    (lambda r: [b"MTH1{"] + r[1:], "header is not readable"),
    (
      lambda r: [b'MTH1{"version":5}'] + r[1:],
      "format version is 5, this program reads versions 1 to 4",
    ),
    (
      lambda r: [b'MTH1{"version":2,"tables":[],"shard":[1,1]}'] + r[1:],
      "header does not tell its shard",
    ),
    (lambda r: r[:1] + [r[1][:-4]] + r[2:], "bytes of rows, wanted"),
    (lambda r: r[:1] + [r[1][:10]] + r[2:], "not a block of rows"),
    (
      lambda r: r[:1] + [r[1][:16] + b"\xff" * 8 + r[1][24:]] + r[2:],
      "bytes of rows, wanted 18446744073709551615",
    ),
    (lambda r: r[:1] + [r[1][:4] + b"\x09" + r[1][5:]] + r[2:], "of table 9"),
    (lambda r: r[:-1] + [b'MTF1{"rows":[-1,0]}'], "footer is not readable"),
    (lambda r: r[:-1] + [b'MTF1{"rows":[1]}'], "footer counts rows of 1 tables"),
  )
  def test_records_that_do_not_belong_together(self, change, message):
    file = self.save_one(40)
    records = [r.numpy() for r in tf.data.TFRecordDataset(file)]
    with tf.io.TFRecordWriter(file) as writer:
      for record in change(records):
        writer.write(record)
    with open(file, "rb") as f:
      content = f.read()
    self.assertRefused(file, [content], message)

  @parameterized.parameters(
    ("embedding", np.nan, "the embedding of id .* is nan, wanted a finite number"),
    ("embedding", -np.inf, "the embedding of id .* is -inf"),
    ("state", np.inf, "the optimizer state of id .* of segment 'vec'.* is inf"),
    ("state", -1.0, "the optimizer state of id .* is -1, wanted 1.17549e-38 to"),
  )
  def test_rows_that_cannot_be_are_refused(self, column, value, message):
    file = self.save_one(40)
    records = [r.numpy() for r in tf.data.TFRecordDataset(file)]
    block = bytearray(records[-2])  # of uid: 2 floats of embedding, 2 of state
    _, table, dim, state_dim, n = struct.unpack_from("<4sIIIQ", block)
    self.assertEqual((table, dim, state_dim), (1, 2, 2))
    last = 24 + 8 * n + 4 * n * {"embedding": 2, "state": 4}[column] - 4
    struct.pack_into("<f", block, last, value)
    with tf.io.TFRecordWriter(file) as writer:
      for record in [*records[:-2], bytes(block), records[-1]]:
        writer.write(record)
    with open(file, "rb") as f:
      content = f.read()
    self.assertRefused(file, [content], f"table 'uid': {message}")

  def test_a_restore_whose_step_is_cancelled_ends(self):
    file = self.save_one(100_000)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      handle = testing.table_set(CONFIG)
      restored = testing.restore(handle, [file])
      session.run(tf.identity(handle))
      with self.assertRaises(tf.errors.DeadlineExceededError):
        options = tf.compat.v1.RunOptions(timeout_in_ms=1)
        for _ in range(1000):  # As often as it ends sooner.
          session.run(restored, options=options)
      sizes = session.run(ops.monolith_table_stats(handle).sizes)
      self.assertAllEqual(sizes, [0, 0])

  def test_missing_file_is_named(self):
    good = self.save_one()
    missing = os.path.join(self.folder, "nothing")
    with self.assertRaisesRegex(tf.errors.NotFoundError, missing):
      restore(testing.table_set(CONFIG), [good, missing])

  def test_bad_inputs(self):
    handle = testing.table_set(CONFIG)
    for file, message in ((["a"], "file has the wrong shape"), ("", "must be a name")):
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
        testing.save(handle, file)
    for shard_index, num_shards, message in (
      (0, 0, "num_shards must be in 1 .. 32768, got 0"),
      (2, 2, "shard_index must be in 0 .. 1, got 2"),
    ):
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
        testing.save(handle, "a", shard_index, num_shards)
    for arguments, message in (
      (("a", 0, 1), "files has the wrong shape"),
      ((["a"], 0, 0), "num_shards must be in 1 .. 32768, got 0"),
      ((["a"], 0, 2**40), "num_shards must be in 1 .. 32768"),
      ((["a"], 2, 2), "shard_index must be in 0 .. 1, got 2"),
      ((["a"], -1, 2), "shard_index must be in 0 .. 1, got -1"),
      ((["a"], [0], 2), "shard_index must be a scalar"),
      ((["a"], 0, [2]), "num_shards must be a scalar"),
      ((["a"], 0, 1, ["x", "y"]), "save_ids .* got 2, wanted 1, one per file, or none"),
    ):
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
        restore(handle, *arguments)


if __name__ == "__main__":
  tf.test.main()
