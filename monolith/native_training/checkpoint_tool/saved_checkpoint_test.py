"""Which rows a chain of checkpoints has."""

import json
import os
import tracemalloc

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.checkpoint_tool import saved_checkpoint
from monolith.native_training.checkpoint_tool.saved_checkpoint import SavedCheckpoint
from monolith.native_training.checkpoint_tool.tool_test_case import ToolTestCase
from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.small_tables import SmallTables


def _rows(path: str) -> dict[str, dict]:
  saved = SavedCheckpoint(path)
  rows = {table.name: {} for table in saved.tables}
  for block in saved.rows():
    name = saved.tables[block.table].name
    for i, *row in zip(
      block.ids.tolist(),
      block.embeddings.tolist(),
      block.states.tolist(),
      block.update_times.tolist(),
      strict=True,
    ):
      assert i not in rows[name], f"id {i} is there twice"
      rows[name][i] = tuple(row)
  return rows


class SavedCheckpointTest(ToolTestCase):
  def test_rows_are_those_that_restoring_gives(self):
    for step in (100, 200, 300):
      with SmallTables(1) as tables:
        tables.restore(self.path(step))
        self.assertEqual(_rows(self.path(step)), tables.rows())

  def test_one_table_alone(self):
    saved = SavedCheckpoint(self.path(300))
    ids = [i for rows in saved.rows(only="uid") for i in rows.ids.tolist()]
    self.assertCountEqual(ids, self.rows["uid"])

  def test_what_a_file_says_last_of_an_id_counts(self):
    """A row that goes and comes back while it is saved may be there twice."""
    file = self.file(100)
    records = [r.numpy() for r in tf.data.TFRecordDataset(file)]
    block = next(r for r in records if r[:4] == b"MTB1")
    n = int.from_bytes(block[16:24], "little")
    again = block[:-4] + (7777).to_bytes(4, "little")
    footer = json.loads(records[-1][4:])
    footer["rows"][0] += n
    with tf.io.TFRecordWriter(file) as writer:
      for record in [*records[:-1], again, b"MTF1" + json.dumps(footer).encode()]:
        writer.write(record)
    content = checkpoint.read_manifest(self.path(100))
    content.rows += n
    checkpoint.write_manifest(self.path(100), content)
    with SmallTables(3) as tables:
      tables.restore(self.path(100))
      wanted = tables.rows()
    self.assertIn(7777, [row[2] for row in wanted["mov"].values()])
    self.assertEqual(_rows(self.path(100)), wanted)

  def test_looking_for_ids_among_many_copies_none_of_those(self):
    many = np.arange(-(2**20), 2**20) * 2**43
    some = np.array([many[0], many[-1], 5, -(2**63), many[7], 2**63 - 1, many[7] + 1])
    tracemalloc.start()
    self.addCleanup(tracemalloc.stop)
    found = saved_checkpoint._are_in(many, some)
    _, peak = tracemalloc.get_traced_memory()
    self.assertSequenceEqual(
      found.tolist(), [True, True, False, True, True, False, False]
    )
    self.assertLess(peak, many.nbytes / 100)
    self.assertEmpty(saved_checkpoint._are_in(many, some[:0]))
    self.assertFalse(saved_checkpoint._are_in(many[:0], some).any())

  def test_a_model_without_tables(self):
    folder = self.create_tempdir().full_path
    with SmallTables(1, []) as tables:
      path = tables.save(folder, 5)
    self.assertEqual(_rows(path), {})
    report = self.json("inspect", folder)
    self.assertEqual((report["tables"], report["global_step"]), ([], 5))
    self.assertEqual(self.run_tool("verify", folder)[0], 0)
    self.assertTrue(os.path.isdir(folder))


if __name__ == "__main__":
  absltest.main()
