import concurrent.futures
import glob
import json
import os
import resource
import time

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import core_errors, loader, testing

ops = core_errors.PlainOps(loader.ops())

# Two tables, of dim 5 and 4.
DIMS = [5, 4]
IDS = (list(range(100)), list(range(50, 90)))


def config(compressor="fp32", dims=(2, 3, 4), names=("mov", "uid"), **settings):
  tables = json.loads(
    testing.config(
      settings,
      **{
        names[0]: [
          testing.segment(dims[0], optimizer=testing.ADAGRAD),
          testing.segment(dims[1], "bias"),
        ],
        names[1]: [testing.segment(dims[2])],
      },
    )
  )
  for table in tables["tables"]:
    for segment in table["segments"]:
      segment["compressor"] = {"type": compressor}
  return json.dumps(tables)


def assign(handle, ids, seed=0):
  values = np.random.RandomState(seed).uniform(
    -1, 1, sum(len(i) * d for i, d in zip(ids, DIMS, strict=True))
  )
  values = values.astype(np.float32)
  ops.monolith_assign(handle, testing.request(*ids), values, update_time=1)
  return values


class CompactTableTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def path(self, name):
    return os.path.join(self.folder, name)

  def save(self, handle, name="rows", **save):
    file = self.path(name)
    testing.save(handle, file, **save)
    return file

  def export(self, files, json_config=None, num_shards=1, save_ids=(), **attributes):
    outputs = [self.path(f"out{i}") for i in range(2 * num_shards)]
    exported = ops.monolith_export_tables(
      files,
      tf.constant(save_ids, tf.string, [len(save_ids)]),
      outputs,
      config=json_config or config(),
      num_shards=num_shards,
      **attributes,
    )
    return outputs, exported

  def tables(self, name=None, names=("mov", "uid"), dims=DIMS):
    return ops.monolith_compact_tables(
      table_names=names, table_dims=dims, shared_name=name or self.folder
    )

  def load(self, files, **kwargs):
    handle = self.tables(**kwargs)
    ops.monolith_load_compact_tables(handle, files)
    return handle

  def lookup(self, handle, *ids):
    return ops.monolith_compact_lookup(handle, testing.request(*ids)).numpy()

  def test_rows_are_those_of_the_checkpoint(self):
    handle = testing.table_set(config())
    values = assign(handle, IDS)
    outputs, exported = self.export([self.save(handle)])
    self.assertAllEqual(exported.rows, [100, 40])
    self.assertEqual(exported.rows_read, 140)
    loaded = self.load(outputs[::-1])  # in any order
    self.assertAllEqual(self.lookup(loaded, *IDS), values)
    self.assertAllEqual(
      self.lookup(loaded, [-1, 7], [7]), [0] * 5 + [*values[35:40]] + [0] * 4
    )
    self.assertAllEqual(ops.monolith_compact_table_stats(loaded).sizes, [100, 40])
    self.assertEqual(
      self.lookup(loaded, *(i * 40 for i in IDS)).tolist(),
      [*np.tile(values[:500], 40), *np.tile(values[500:], 40)],
    )

  @parameterized.parameters(("fp16", 1e-3), ("fixed_r8", 4e-3), ("one_bit", 1.0))
  def test_rows_are_compressed(self, compressor, tolerance):
    handle = testing.table_set(config())
    values = assign(handle, IDS)
    file = self.save(handle)
    loaded = self.load(self.export([file], config(compressor))[0])
    got = self.lookup(loaded, *IDS)
    self.assertAllClose(got, values, atol=tolerance, rtol=0)
    self.assertGreater(np.abs(got - values).max(), 0)

  def test_increments_and_shards(self):
    handle = testing.table_set(config())
    values = assign(handle, IDS)
    files = [self.save(handle, "a", save_id="a")]
    changed = ([3, 200], [55])
    new = assign(handle, changed, seed=1)
    ops.monolith_erase(handle, testing.request([5, 6], [89]))
    files.append(self.save(handle, "b", save_id="b", base="a"))
    assign(handle, ([6], []), seed=2)
    files.append(self.save(handle, "c", save_id="c", base="b"))
    ids = ([3, 200, 4, 5, 6], [55, 89, 88])
    wanted = ops.monolith_lookup(handle, testing.request(*ids), missing="zero")
    self.assertAllEqual(wanted[:10], new[:10])
    self.assertAllEqual(wanted[10:15], values[20:25])
    # So little memory that most of it goes through temporary files.
    for memory_bytes in (1000, 1 << 28):
      outputs, exported = self.export(files, memory_bytes=memory_bytes)
      self.assertAllEqual(exported.rows, [100, 39])
      self.assertEqual(exported.rows_read, 144)
      loaded = self.load(outputs, name=f"{self.folder}{memory_bytes}")
      self.assertAllEqual(self.lookup(loaded, *ids), wanted)
    outputs, exported = self.export(files, num_shards=3)
    self.assertAllEqual(np.sum(np.reshape(exported.rows, [3, 2]), 0), [100, 39])
    parts = [
      self.lookup(
        self.load(outputs[2 * i : 2 * i + 2], name=f"{self.folder}/{i}"), *ids
      )
      for i in range(3)
    ]
    self.assertAllEqual(np.sum(parts, 0), wanted)
    self.assertEmpty(glob.glob(self.path("*.unsorted")))

  def test_many_outputs_need_few_open_files(self):
    handle = testing.table_set(config())
    assign(handle, IDS)
    file = self.save(handle)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = len(os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
      _, exported = self.export([file], num_shards=40, memory_bytes=1000)
    finally:
      resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    self.assertAllEqual(np.sum(np.reshape(exported.rows, [40, 2]), 0), [100, 40])
    self.assertEmpty(glob.glob(self.path("*.unsorted")))

  def test_what_does_not_fit_is_refused(self):
    handle = testing.table_set(config())
    assign(handle, IDS)
    file = self.save(handle)
    with open(file, "rb") as f:
      content = f.read()
    with open(self.path("damaged"), "wb") as f:
      f.write(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    for files, json_config, error, message in (
      ([self.path("damaged")], None, tf.errors.DataLossError, "damaged"),
      ([self.path("none")], None, tf.errors.NotFoundError, "none"),
      ([file], config(dims=(2, 3, 5)), tf.errors.InvalidArgumentError, "uid has dim 4"),
      ([file], config(names="ab"), tf.errors.InvalidArgumentError, "got rows of mov"),
    ):
      with self.assertRaisesRegex(error, message):
        self.export(files, json_config)
    with self.assertRaisesRegex(
      tf.errors.DataLossError, f"{file} is of none, its manifest wants save another"
    ):
      self.export([file], save_ids=["another"])
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "save_ids .* got 2"):
      self.export([file], save_ids=["another", "another"])
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, "outputs"):
      ops.monolith_export_tables([file], ["any"], [file], config=config())

  def test_outputs_that_cannot_be_written_are_no_damaged_files(self):
    handle = testing.table_set(config())
    assign(handle, IDS)
    files = [self.save(handle)]
    os.mkdir(self.path("out0"))
    os.mkdir(self.path("out0.unsorted"))
    for memory_bytes, output in ((2**20, "out0"), (2, "out0.unsorted")):
      with self.assertRaisesRegex(
        tf.errors.UnknownError, f"^the export cannot be written: {self.path(output)}"
      ):
        self.export(files, memory_bytes=memory_bytes)

  def test_an_export_ends_when_its_session_is_closed(self):
    handle = testing.table_set(config())
    assign(handle, (list(range(100_000)), []))
    file = self.save(handle)
    outputs = [self.path("pipe"), self.path("out")]
    os.mkfifo(outputs[0])  # What is written waits until it is read.
    with tf.Graph().as_default() as graph:
      exported = ops.monolith_export_tables([file], [], outputs, config=config())
      session = tf.compat.v1.Session(graph=graph)
      with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = pool.submit(session.run, exported.rows)
        with open(outputs[0], "rb") as pipe:  # When it is opened for writing.
          # It waits for the export, which waits where the pipe is full.
          pool.submit(session.close)
          time.sleep(1)
          written = len(pipe.read())
        with self.assertRaisesRegex(tf.errors.CancelledError, "was given up"):
          done.result()
    self.assertLess(written, 100_000 * (8 + 4 * 5))

  def test_a_segment_that_is_new_is_refused(self):
    tables = {"mov": [testing.segment(2)], "uid": [testing.segment(4)]}
    old = testing.table_set(testing.config(**tables))
    ops.monolith_assign(old, testing.request([7], []), [1.0, 2.0], update_time=1)
    tables["mov"].append(testing.segment(3, "bias", value=4.0))
    new = testing.config(**tables)
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, "bias of table mov has dim 3 .* not in the file"
    ):
      self.export([self.save(old)], new)

  def test_a_table_that_is_new_is_refused(self):
    old = testing.table_set(testing.config(mov=[testing.segment(2)]))
    ops.monolith_assign(old, testing.request([7]), [1.0, 2.0], update_time=1)
    new = testing.config(mov=[testing.segment(2)], uid=[testing.segment(4)])
    misfit = "table uid is in the model, but not in the files"
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, misfit):
      self.export([self.save(old)], new)
    # As of a model that had no tables.
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, misfit):
      self.export([], new)

  def test_a_table_without_rows_is_exported(self):
    outputs, exported = self.export([self.save(testing.table_set(config()))])
    self.assertAllEqual(exported.rows, [0, 0])

  def test_loading_refuses_what_is_not_the_models(self):
    handle = testing.table_set(config())
    assign(handle, IDS)
    outputs, _ = self.export([self.save(handle)])
    with open(outputs[0], "r+b") as f:
      f.seek(100)
      f.write(b"?!")
    InvalidArgument = tf.errors.InvalidArgumentError
    for files, name, kwargs, error, message in (
      (outputs, "a", {}, tf.errors.DataLossError, f"{outputs[0]} cannot be loaded"),
      (outputs[1:], "a", {}, InvalidArgument, "lack table mov"),
      (outputs[1:] * 2, "a", {}, InvalidArgument, "uid, as another file is"),
      (
        outputs[1:],
        "b",
        {"names": ["x", "y"]},
        InvalidArgument,
        "uid, which the model",
      ),
      (
        outputs[1:],
        "c",
        {"dims": [5, 6]},
        InvalidArgument,
        "has rows of dim 4.*wants 6",
      ),
      ([self.path("none")], "a", {}, tf.errors.NotFoundError, "none"),
    ):
      with self.assertRaisesRegex(error, message):
        self.load(files, name=self.folder + name, **kwargs)

  def test_what_was_loaded_stays_when_loading_fails(self):
    handle = testing.table_set(config())
    values = assign(handle, IDS)
    outputs, _ = self.export([self.save(handle)])
    loaded = self.load(outputs)
    with self.assertRaises(tf.errors.InvalidArgumentError):
      self.load(outputs[:1])
    self.assertAllEqual(self.lookup(loaded, *IDS), values)

  def test_arguments_are_checked(self):
    InvalidArgument = tf.errors.InvalidArgumentError
    with self.assertRaisesRegex(InvalidArgument, "table_dims"):
      self.tables(dims=[5])
    with self.assertRaisesRegex(InvalidArgument, "got 0 for table uid"):
      self.tables(dims=[5, 0])
    with self.assertRaisesRegex(InvalidArgument, "a name twice"):
      self.tables(names=["a", "a"])
    handle = self.tables()
    with self.assertRaisesRegex(InvalidArgument, "but other ones, exist"):
      self.tables(dims=[5, 6])
    with self.assertRaisesRegex(tf.errors.FailedPreconditionError, "not been loaded"):
      self.lookup(handle, [1], [1])
    tables = testing.table_set(config())
    assign(tables, IDS)
    ops.monolith_load_compact_tables(handle, self.export([self.save(tables)])[0])
    for request in ([], [-1, 0], [1, 0], [1, 1, 5], [2**62 + 1, 0, 5]):
      with self.assertRaises(InvalidArgument):
        ops.monolith_compact_lookup(handle, np.array(request, np.int64))


if __name__ == "__main__":
  tf.test.main()
