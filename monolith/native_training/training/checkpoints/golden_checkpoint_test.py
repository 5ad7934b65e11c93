"""Checkpoints that earlier versions have written are restored as they were.

`runtime/ops/table_files/testdata/make_checkpoint.py` has made them.
"""

import json
import os

from absl.testing import absltest, parameterized

from monolith.native_training.training.checkpoints import checkpoint
from monolith.native_training.training.checkpoints.small_tables import SmallTables

_TESTDATA = os.path.join(
  os.path.dirname(__file__), "..", "..", "runtime", "ops", "table_files", "testdata"
)
_VERSIONS = (3, 4)


class GoldenCheckpointTest(parameterized.TestCase):
  def _open(self, version: int) -> None:
    folder = os.path.join(_TESTDATA, f"version_{version}")
    with open(os.path.join(folder, "expected.json")) as file:
      expected = json.load(file)
    self._on_trial = {int(i): lacks for i, lacks in expected["on_trial"].items()}
    self._variables = expected["variables"]
    self._rows = {
      name: {int(i): tuple(row) for i, row in rows.items()}
      for name, rows in expected["rows"].items()
    }
    self._path = checkpoint.latest_checkpoint(folder)

  @parameterized.product(version=_VERSIONS, num_servers=(1, 2, 3))
  def test_every_row_and_variable_is_as_it_was(self, version, num_servers):
    self._open(version)
    names = [os.path.basename(path) for path in checkpoint.chain(self._path)]
    self.assertEqual(names, ["model.ckpt-10", "model.ckpt-20"])
    with SmallTables(num_servers) as tables:
      tables.restore(self._path)
      self.assertEqual(tables.rows(), self._rows)
      self.assertEqual(tables.variables(), self._variables)
    # All that the script has done to them has left its mark.
    mov, uid = self._rows["mov"], self._rows["uid"]
    self.assertEqual(set(mov), {-1, 2**63 - 1, -(2**63), *range(105, 134)})
    self.assertEqual(set(uid), {i for i in range(19) if i != 4})
    self.assertEqual({row[2] for row in mov.values()}, {1002, 2000})

  @parameterized.product(version=_VERSIONS, num_servers=(1, 2, 3))
  def test_occurrences_count_on(self, version, num_servers):
    self._open(version)
    with SmallTables(num_servers) as tables:
      tables.restore(self._path)
      for occurrence in range(1, max(self._on_trial.values()) + 1):
        tables.train(3000, uid=list(self._on_trial))
        admitted = {i for i, lacks in self._on_trial.items() if lacks <= occurrence}
        rows = set(tables.rows()["uid"])
        self.assertEqual(rows, admitted | set(self._rows["uid"]))


if __name__ == "__main__":
  absltest.main()
