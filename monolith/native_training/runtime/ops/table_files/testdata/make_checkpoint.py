"""Writes the checkpoint that programs of later versions must go on reading.

  cd monolith/native_training/runtime/ops/table_files/testdata
  bazel run :make_checkpoint -- version_N

Run it once for each version of the format, and keep what earlier ones have written: two
servers of two files each, everything at step 10 and what has changed at step 20, and
`expected.json` with every row and variable as they were.
"""

import json
import os
import sys

from monolith.native_training.local_files.user_path import user_path
from monolith.native_training.training.checkpoints.small_tables import (
  THRESHOLD,
  SmallTables,
)

_EXTREMES = [0, -1, 2**63 - 1, -(2**63)]


def main(folder: str) -> None:
  os.makedirs(folder)
  with SmallTables(2, max_increments=1) as tables:
    # Trained three times: these get rows.
    for time in (1000, 1001, 1002):
      tables.train(time, mov=[*_EXTREMES, *range(100, 130)], uid=range(20))
    tables.train(1003, uid=range(40, 44))
    tables.save(folder, 10)
    tables.train(2000, mov=[*range(120, 135), -1], uid=[3, 4, *range(42, 46)])
    tables.erase(mov=[0, *range(100, 105), 134], uid=[4, 19])
    tables.save(folder, 20)
    expected = {
      "variables": tables.variables(),
      "rows": {
        name: {str(i): row for i, row in sorted(rows.items())}
        for name, rows in tables.rows().items()
      },
      # Of uid, with how many occurrences they lack.
      "on_trial": {
        "40": THRESHOLD - 1,
        "41": THRESHOLD - 1,
        "42": THRESHOLD - 2,
        "43": THRESHOLD - 2,
        "44": THRESHOLD - 1,
        "45": THRESHOLD - 1,
      },
    }
  with open(os.path.join(folder, "expected.json"), "w") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")


if __name__ == "__main__":
  main(user_path(sys.argv[1]))
