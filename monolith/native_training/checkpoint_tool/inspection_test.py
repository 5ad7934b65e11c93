"""`checkpoint inspect`."""

import json
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.checkpoint_tool.tool_test_case import ToolTestCase
from monolith.native_training.training.checkpoints import checkpoint


class InspectTest(ToolTestCase):
  def test_a_report_counts_what_the_chain_has_in_the_end(self):
    report = self.json("inspect", self.dir)
    self.assertEqual(report["path"], self.path(300))
    self.assertEqual(report["global_step"], 300)
    chain = report["chain"]
    self.assertEqual([link["global_step"] for link in chain], [100, 200, 300])
    self.assertEqual([link["rows"] for link in chain], [552, 11, 9])
    self.assertEqual([link["erased"] for link in chain], [0, 32, 2])
    self.assertEqual(chain[0]["files"], 6)
    self.assertEqual(
      report["dense_variables"],
      [{"name": "dense/bias", "dtype": "float32", "shape": [2], "bytes": 8}],
    )
    mov, uid = report["tables"]
    for table, row_bytes in ((mov, 8 + 4 * (4 + 3) + 4), (uid, 8 + 4 * (2 + 2) + 4)):
      rows = self.rows[table["name"]]
      self.assertEqual(table["rows"], len(rows))
      self.assertEqual(table["bytes"], len(rows) * row_bytes)
      times = [time for _, _, time in rows.values()]
      self.assertEqual(
        (table["oldest_update"], table["newest_update"]), (min(times), max(times))
      )
      norms = {i: float(np.linalg.norm(row[0])) for i, row in rows.items()}
      self.assertLen(table["largest_norms"], 5)
      for got, wanted in zip(
        table["largest_norms"], sorted(norms.values(), reverse=True), strict=False
      ):
        self.assertAlmostEqual(got["norm"], wanted)
        self.assertAlmostEqual(norms[got["id"]], wanted)
    self.assertEqual(
      [(s["name"], s["dim"], s["state_dim"]) for s in mov["segments"]],
      [("vec", 3, 3), ("bias", 1, 0)],
    )
    vec = mov["segments"][0]
    self.assertEqual(vec["optimizer"]["type"], "adagrad")
    self.assertEqual(vec["initializer"]["type"], "random_uniform")
    self.assertEqual(vec["compressor"]["type"], "fp16")
    self.assertEqual((mov["on_trial"], uid["on_trial"]), (0, 2))

  def test_one_checkpoint_may_be_named(self):
    for name in (self.path(100), self.path(100) + ".tables/"):
      report = self.json("inspect", name, "--largest=1")
      self.assertEqual(report["global_step"], 100)
      rows = [table["rows"] for table in report["tables"]]
      self.assertEqual(rows, [len(rows) for rows in self.rows_at_100.values()])
      self.assertLen(report["tables"][0]["largest_norms"], 1)

  def test_a_report_for_people(self):
    code, out, err = self.run_tool("inspect", self.dir)
    self.assertEqual((code, err), (0, ""))
    for text in (
      "global step 300, saved 2",
      "model.ckpt-100: all 552 rows",
      "then model.ckpt-200: 11 changed rows and 32 erased ids",
      "dense/bias: float32 [2], 8 bytes",
      "slice vec: 3 floats + 3 of optimizer state; adagrad(",
      "an id gets a row at its occurrence 3; at most 2 are on trial",
      "updated 1970-01-01 00:16:42 UTC to 1970-01-01 00:50:00 UTC",
    ):
      self.assertIn(text, out)

  def test_one_that_is_replaced_before_its_variables_are_read(self):
    path, load = self.path(300), tf.train.load_checkpoint

    def replaced(read: str):
      if read == path:
        checkpoint.rename(path, path + ".1")
      return load(read)

    with mock.patch.object(tf.train, "load_checkpoint", replaced):
      self.assertEqual(self.json("inspect", self.dir)["path"], path + ".1")

  def test_a_damaged_one_is_passed_over_for_the_newest_sound_one(self):
    self.flip(self.file(300), 50)
    code, out, err = self.run_tool("inspect", self.dir, "--json")
    self.assertEqual(code, 0)
    self.assertEqual(json.loads(out)["global_step"], 200)
    self.assertRegex(err, f"{self.path(300)} is passed over: {self.file(300)}: ")
    self.assertLen(err.splitlines(), 1)
    self.flip(self.path(200) + ".data-00000-of-00001", 3)
    self.assertEqual(self.json("inspect", self.dir)["global_step"], 100)
    self.assert_fails(f"{self.file(300)}: a checksum", "inspect", self.path(300))


if __name__ == "__main__":
  absltest.main()
