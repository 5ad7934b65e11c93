"""Files whose records have sound checksums, but cannot be."""

import json
import os
import struct

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.checkpoint_tool.table_file import DamagedFile, TableFile
from monolith.native_training.checkpoint_tool.table_records import Erased, Rows, Trials


def _header(state_dim=1, optimizer="adagrad", **changes) -> bytes:
  segment = {
    "name": "vec",
    "dim": 2,
    "seed": 1,
    "initializer": {"type": "constants", "constant": 0.0},
    "optimizer": {"type": optimizer},
    "compressor": {"type": "fp16"},
  }
  config = {
    "name": "t",
    "occurrence_threshold": 2,
    "admission_capacity": 8,
    "expire_time": 1.0,
    "segments": [segment],
  }
  header = {
    "version": 4,
    "written_by": "test",
    "shard": [0, 1],
    "save": "s",
    "base": "",
    "file": [0, 1],
    "tables": [{"config": config, "state_dims": [state_dim]}],
  }
  return _json(b"MTH1", {**header, **changes})


def _json(tag: bytes, content) -> bytes:
  return tag + json.dumps(content).encode()


def _rows(ids, value=1.0, table=0, dim=2, state_dim=1) -> bytes:
  n = len(ids)
  floats = np.full(n * (dim + state_dim), value, "<f4").tobytes()
  head = struct.pack("<4sIIIQ", b"MTB1", table, dim, state_dim, n)
  return head + np.array(ids, "<i8").tobytes() + floats + bytes(4 * n)


def _erased(ids) -> bytes:
  return struct.pack("<4sIQ", b"MTE1", 0, len(ids)) + np.array(ids, "<i8").tobytes()


def _trial(bucket=3, fingerprint=5, age=1, stripe=6) -> bytes:
  head = struct.pack("<4sIIIQ", b"MTT1", 0, stripe, 4, 1)
  return head + struct.pack("<IIHB", bucket, fingerprint, 1, age)


def _aged(generations=14, table=0, stripe=6) -> bytes:
  return struct.pack("<4sIIII", b"MTA1", table, stripe, 4, generations)


def _footer(rows=0, trials=0, erased=0) -> bytes:
  return _json(b"MTF1", {"rows": [rows], "trials": [trials], "erased": [erased]})


class TableFileTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self._path = os.path.join(self.create_tempdir().full_path, "rows")

  def _blocks(self, *records: bytes) -> list:
    with tf.io.TFRecordWriter(self._path) as writer:
      for record in records:
        writer.write(record)
    return list(TableFile(self._path).blocks())

  def _assert_refused(self, records: list[bytes], number: int, message: str) -> None:
    """Because of the record of a number."""
    with self.assertRaisesRegex(DamagedFile, f"{self._path}: .*{message}") as raised:
      self._blocks(*records)
    offset = sum(len(record) + 16 for record in records[:number])
    self.assertEqual(raised.exception.byte, offset)

  def test_blocks_in_their_order(self):
    erased, aged, trials, rows = self._blocks(
      _header(), _erased([7]), _aged(), _trial(), _rows([7, -8]), _footer(2, 1, 1)
    )
    self.assertIsInstance(erased, Erased)
    self.assertEqual(erased.ids.tolist(), [7])
    for block, names in ((aged, []), (trials, [3 << 20 | 5])):
      self.assertIsInstance(block, Trials)
      self.assertEqual((block.table, block.stripe), (0, 6))
      self.assertEqual(block.names.tolist(), names)
    self.assertIsInstance(rows, Rows)
    self.assertEqual(rows.ids.tolist(), [7, -8])
    self.assertEqual(rows.embeddings.shape, (2, 2))
    self.assertEqual(rows.states.shape, (2, 1))

  def test_no_thread_is_left_of_what_is_read(self):
    self._blocks(_header(), _rows([1]), _footer(1))
    before = len(os.listdir("/proc/self/task"))
    files = [TableFile(self._path) for _ in range(50)]
    iterators = [file.blocks() for file in files]
    for blocks in iterators:
      next(blocks)
    self.assertLess(len(os.listdir("/proc/self/task")), before + 10)

  def test_older_versions(self):
    header = json.loads(_header(version=1)[4:])
    for name in ("shard", "save", "base", "file"):
      del header[name]
    footer = _json(b"MTF1", {"rows": [1]})
    self.assertLen(self._blocks(_json(b"MTH1", header), _rows([1]), footer), 1)
    self.assertEqual(TableFile(self._path).header.save_id, "")

  @parameterized.parameters(
    (_rows([1]), "does not begin with the header"),
    (b"", "does not begin with the header"),
    (b"MTH1{", "header is not readable"),
    (b"MTH1[]", "header is not readable"),
    (b"MTH1" + b"[" * 100_000, "header is not readable"),
    (b"MTH1\xff\xff", "header is not readable"),
    (_header(version=5), "its format version is 5, this program reads 1 to 4"),
    (_header(version="3"), "its format version is 3"),
    (_header(tables=None), "header is not readable"),
    (_header(tables=[{}]), "header is not readable"),
    (_header(shard=[1]), "header is not readable"),
    (_header(shard="ab"), "header is not readable"),
  )
  def test_headers(self, record, message):
    self._assert_refused([record, _footer()], 0, message)

  @parameterized.parameters(
    (b"", "no known kind"),
    (b"MTX1" + bytes(50), "no known kind"),
    (_header(), "no known kind"),
    (_rows([1])[:20], "too short"),
    (_erased([])[:-1], "too short"),
    (_rows([1])[:-1], "a block has 23 bytes, wanted 1 times 24"),
    (_rows([1]) + b"\0", "a block has 25 bytes"),
    (_rows([])[:-8] + b"\xff" * 8, "wanted 18446744073709551615 times"),
    (_erased([1, 2])[:-8], "a block has 8 bytes, wanted 2 times 8"),
    (_trial()[:-1], "a block has 10 bytes, wanted 1 times 11"),
    (_rows([1], table=1), "is of table 1, its header has 1"),
    (_rows([1], dim=3), r"rows of 3 \+ 1 floats, its header says 2 \+ 1"),
    (
      _rows([-9], np.nan),
      "table 't': the embedding of id -9 .*is nan, wanted a finite",
    ),
    (_trial(bucket=4), "an id on trial is out of range"),
    (_trial(fingerprint=1 << 20), "an id on trial is out of range"),
    (_trial(age=15), "an id on trial is out of range"),
    (_aged(0), "how ids on trial have aged is out of range"),
    (_aged(15), "how ids on trial have aged is out of range"),
    (_aged() + b"\0", "how ids on trial have aged is out of range"),
    (_aged()[:-1], "too short"),
    (_aged(table=1), "is of table 1, its header has 1"),
    (_trial(stripe=2**31), "are of stripe 2147483648 of table t, which has "),
    (_aged(stripe=2**31), "are of stripe 2147483648 of table t, which has "),
    (b"MTF1{", "footer is not readable"),
    (_json(b"MTF1", []), "footer is not readable"),
    (_json(b"MTF1", {"rows": [0, 0]}), "footer is not readable"),
    (_footer(1), "it has 0 rows.*its footer says 1 rows"),
    (_footer(0, 1), "its footer says .*1 ids on trial"),
    (_footer(0, 0, 1), "its footer says .*1 erased ids"),
  )
  def test_blocks_and_footers(self, record, message):
    self._assert_refused([_header(), record, _footer()], 1, message)

  @parameterized.parameters(
    (np.nan, "is nan, wanted 1.17549e-38 to"),
    (np.inf, "is inf, wanted 1.17549e-38 to"),
    (-1.0, "is -1, wanted 1.17549e-38 to"),
    (0.0, "is 0, wanted 1.17549e-38 to"),
  )
  def test_states_that_no_optimizer_can_have(self, value, message):
    rows = bytearray(_rows([5, -9], state_dim=2))
    struct.pack_into("<f", rows, len(rows) - 2 * 4 - 4, value)
    name = r"table 't': the optimizer state of id -9 .*column 1, of segment 'vec'\) "
    records = [_header(2), bytes(rows), _footer(2)]
    self._assert_refused(records, 1, f"{name}{message}")

  def test_an_optimizer_that_had_another_state_begins_anew(self):
    (rows,) = self._blocks(_header(), _rows([5], -1.0), _footer(1))
    self.assertEqual(rows.states.tolist(), [[-1.0]])

  def test_a_table_that_cannot_be(self):
    message = "header describes a table wrongly: .*no_such"
    self._assert_refused([_header(optimizer="no_such"), _footer()], 0, message)

  def test_what_follows_the_footer(self):
    self._assert_refused(
      [_header(), _footer(), _footer()], 2, "something follows its footer"
    )

  def test_without_footer(self):
    records = [_header(), _rows([1])]
    self._assert_refused(records, 2, "without a footer, so was never finished")


if __name__ == "__main__":
  absltest.main()
