"""Saving and restoring how often ids without a row have occurred."""

import contextlib
import io
import json
import os
import struct
import sys
import tempfile

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import loader, testing

ops = loader.ops()

_THRESHOLD = 5
_CAPACITY = 10000


def _config(**settings):
  return testing.config(
    {"occurrence_threshold": _THRESHOLD, "admission_capacity": _CAPACITY, **settings},
    mov=[testing.segment(1)],
  )


def _shard(ids, count):
  requests, _ = ops.monolith_shard_ids(
    ids=[np.asarray(ids, np.int64)],
    row_splits=[[0, len(ids)]],
    num_shards=count,
    table_of_feature=[0],
    table_dims=[1],
    feature_names=["ids"],
  )
  return [request.numpy()[1:] for request in requests]


def _occur(servers, ids):
  """Each of the ids occurs once, on its server."""
  for server, own in zip(servers, _shard(ids, len(servers)), strict=True):
    testing.update(server, testing.request(own), np.zeros(len(own)))


def _ids_with_row(servers):
  return {i for server in servers for i in testing.export(server)}


@contextlib.contextmanager
def _captured_log():
  """What the process, C++ too, writes to stderr meanwhile."""
  sys.stderr.flush()
  log = io.StringIO()
  with tempfile.TemporaryFile("w+") as file:
    stderr = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
      yield log
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)
      file.seek(0)
      log.write(file.read())


class CheckpointTrialsTest(tf.test.TestCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.create_tempdir().full_path

  def servers(self, count, **settings):
    return [testing.table_set(_config(**settings)) for _ in range(count)]

  def save(self, servers, save_id="", base=""):
    files = [
      os.path.join(self.folder, f"part-{save_id}-{i}") for i in range(len(servers))
    ]
    for i, (server, file) in enumerate(zip(servers, files, strict=True)):
      testing.save(server, file, i, len(servers), save_id, base)
    return files

  def restore(self, servers, files, **attributes):
    for i, server in enumerate(servers):
      testing.restore(server, files, i, len(servers), **attributes)

  @parameterized.product(saved=[1, 2, 3], restored=[1, 2, 3])
  def test_an_id_goes_on_from_where_it_was(self, saved, restored):
    ids = np.arange(3000)
    four_times, thrice, admitted = ids[:2000], ids[2000:2900], ids[2900:]
    before = self.servers(saved)
    for _ in range(3):
      _occur(before, ids)
    _occur(before, np.concatenate([four_times, admitted]))
    _occur(before, admitted)
    self.assertEqual(_ids_with_row(before), set(admitted))

    after = self.servers(restored)
    self.restore(after, self.save(before))
    self.assertEqual(_ids_with_row(after), set(admitted))
    _occur(after, ids)
    self.assertEqual(_ids_with_row(after), {*four_times, *admitted})
    _occur(after, thrice)
    self.assertEqual(_ids_with_row(after), set(ids))

  @parameterized.product(saved=[1, 3], restored=[1, 2, 3])
  def test_changes_count_on_from_where_they_were(self, saved, restored):
    ids = np.arange(3000)
    before = self.servers(saved)
    for _ in range(3):
      _occur(before, ids)
    files = self.save(before, "a")
    # One occurrence is left to the first, then 1,000 that have their row; and to the
    # last all, which had one meanwhile.
    _occur(before, ids[:2000])
    _occur(before, ids[1000:2000])
    files += self.save(before, "b", "a")
    for _ in range(3):
      _occur(before, ids[2900:])
    files += self.save(before, "c", "b")
    for server, own in zip(before, _shard(ids[2900:], saved), strict=True):
      ops.monolith_erase(server, testing.request(own))
    _occur(before, ids[2950:])
    files += self.save(before, "d", "c")

    after = self.servers(restored)
    self.restore(after, files)
    admitted = {*ids[1000:2000]}
    for occurrences in range(1, _THRESHOLD + 1):
      self.assertEqual(_ids_with_row(after), admitted)
      _occur(after, ids)
      if occurrences == 1:
        admitted |= {*ids[:1000]}
      elif occurrences == 2:
        admitted |= {*ids[2000:2900]}
      elif occurrences == _THRESHOLD - 1:
        admitted |= {*ids[2950:]}
    self.assertEqual(_ids_with_row(after), {*ids})

  @parameterized.parameters(1, 2)
  def test_trials_that_are_over_take_no_room(self, count):
    # Never are more than the capacity on trial, but in base and changes together.
    room = count * _CAPACITY
    ids = np.arange(room * 17 // 10)
    going_on, admitted, new = np.split(ids, [room * 3 // 10, room])
    before = self.servers(count)
    for _ in range(_THRESHOLD - 1):
      _occur(before, np.concatenate([going_on, admitted]))
    files = self.save(before, "a")
    _occur(before, admitted)
    for _ in range(_THRESHOLD - 1):
      _occur(before, new)
    files += self.save(before, "b", "a")

    after = self.servers(count)
    self.restore(after, files)
    _occur(after, np.concatenate([going_on, new]))
    late = {*ids} - _ids_with_row(after)
    self.assertLess(len(late), len(ids) / 300)  # As occurrence_filter.h promises.

  def test_an_increment_costs_what_has_occurred(self):
    servers = self.servers(1)
    _occur(servers, np.arange(8000))
    (everything,) = self.save(servers, "a")
    _occur(servers, np.arange(80))
    (changes,) = self.save(servers, "b", "a")
    records = [r.numpy() for r in tf.data.TFRecordDataset(changes)]
    trials = [struct.unpack_from("<Q", r, 16)[0] for r in records if r[:4] == b"MTT1"]
    self.assertEqual(sum(trials), 80)
    self.assertLess(os.path.getsize(changes), os.path.getsize(everything) / 10)

  def test_changes_of_version_3_have_all_trials(self):
    ids = np.arange(100)
    servers = self.servers(1)
    _occur(servers, ids)
    base = self.save(servers, "a")
    for _ in range(3):
      _occur(servers, ids[:50])
    _occur(servers, ids[50:])
    (file,) = self.save(servers, "b", "a")
    # The trials of the base that are not in it are over.
    header, *records = [r.numpy() for r in tf.data.TFRecordDataset(file)]
    old_header = json.loads(header[4:])
    old_header["version"] = 3
    kept = [r for r in records if r[:4] != b"MTT1"]
    footer = json.loads(kept.pop()[4:])
    footer["trials"] = [0]
    self.write(
      file,
      [
        b"MTH1" + json.dumps(old_header).encode(),
        *kept,
        b"MTF1" + json.dumps(footer).encode(),
      ],
    )
    after = self.servers(1)
    self.restore(after, [*base, file])
    for _ in range(_THRESHOLD - 1):
      _occur(after, ids)
      self.assertEmpty(_ids_with_row(after))
    _occur(after, ids)
    self.assertEqual(_ids_with_row(after), {*ids})

  def test_the_latest_of_more_than_there_is_room_for_go_on(self):
    before = self.servers(3)
    ids = np.arange(3 * _CAPACITY)
    for some in np.split(ids, 30):
      for _ in range(4):
        _occur(before, some)
    after = self.servers(1)
    self.restore(after, self.save(before))
    latest = ids[-_CAPACITY // 2 :]
    _occur(after, latest)
    self.assertGreater(len(_ids_with_row(after)), 0.98 * len(latest))

  def test_what_was_counted_before_goes(self):
    ids = np.arange(100)
    before, after = self.servers(1), self.servers(1)
    files = self.save(before)
    for _ in range(4):
      _occur(after, ids)
    self.restore(after, files)
    _occur(after, ids)
    self.assertEmpty(_ids_with_row(after))

  @parameterized.parameters(
    ({"occurrence_threshold": 4}, 1), ({"occurrence_threshold": 6}, 2)
  )
  def test_of_another_threshold(self, settings, occurrences):
    ids = np.arange(100)
    before, after = self.servers(1), self.servers(1, **settings)
    for _ in range(4):
      _occur(before, ids)
    self.restore(after, self.save(before))
    for _ in range(occurrences):
      self.assertEmpty(_ids_with_row(after))
      _occur(after, ids)
    self.assertEqual(_ids_with_row(after), set(ids))

  def test_of_another_capacity_they_begin_anew_and_the_log_says_so(self):
    ids = np.arange(100)
    before = self.servers(1)
    for _ in range(4):
      _occur(before, ids)
    after = self.servers(1, admission_capacity=2 * _CAPACITY)
    with _captured_log() as log:
      self.restore(after, self.save(before), log_warnings=True)
    self.assertIn(
      "table mov was saved with an admission capacity of 10000, now it is 20000: its "
      "ids without a row are counted from 0 again",
      log.getvalue(),
    )
    _occur(after, ids)
    self.assertEmpty(_ids_with_row(after))

  @parameterized.parameters(
    ({"occurrence_threshold": 0}, {}), ({}, {"with_trials": False})
  )
  def test_they_take_no_memory_where_nobody_counts(self, settings, attributes):
    before = self.servers(1)
    _occur(before, np.arange(100))
    files = self.save(before)
    after = self.servers(1, **settings)
    empty = ops.monolith_table_stats(after[0])[1].numpy()
    with _captured_log() as log:
      self.restore(after, files, log_warnings=True, **attributes)
    self.assertNotIn("admission", log.getvalue())
    self.assertAllEqual(ops.monolith_table_stats(after[0])[1], empty)

  def records(self, occurrences=1):
    before = self.servers(1)
    for _ in range(occurrences):
      _occur(before, np.arange(100))
    (file,) = self.save(before)
    return file, [r.numpy() for r in tf.data.TFRecordDataset(file)]

  def write(self, file, records):
    with tf.io.TFRecordWriter(file) as writer:
      for record in records:
        writer.write(record)

  def test_a_file_of_version_1_is_restored(self):
    file, records = self.records(occurrences=5)
    header, *rows, footer = [r for r in records if r[:4] != b"MTT1"]
    old_header = json.loads(header[4:])
    old_header["version"] = 1
    del old_header["shard"]
    old_footer = json.loads(footer[4:])
    del old_footer["trials"]
    header, footer = (json.dumps(old).encode() for old in (old_header, old_footer))
    self.write(file, [b"MTH1" + header, *rows, b"MTF1" + footer])
    after = self.servers(1)
    self.restore(after, [file])
    self.assertEqual(_ids_with_row(after), set(range(100)))

  @parameterized.parameters(
    (lambda r: r[:1] + r[2:], "ids on trial of table mov, but its footer says"),
    (lambda r: r[:1] + [r[1][:4] + b"\x09" + r[1][5:]] + r[2:], "of table 9"),
    (lambda r: r[:1] + [r[1][:8] + b"\x40" + r[1][9:]] + r[2:], "of stripe 64"),
    (lambda r: r[:1] + [r[1][:12] + bytes(4) + r[1][16:]] + r[2:], "out of range"),
    (lambda r: r[:1] + [r[1][:-1]] + r[2:], "bytes of ids on trial, wanted"),
  )
  def test_damaged_files_are_refused(self, change, message):
    file, records = self.records()
    self.assertEqual(records[1][:4], b"MTT1")
    self.write(file, change(records))
    after = self.servers(1)
    with self.assertRaisesRegex(
      tf.errors.DataLossError, f"{file} cannot be used: .*{message}"
    ):
      self.restore(after, [file])


if __name__ == "__main__":
  tf.test.main()
