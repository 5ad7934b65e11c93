"""Trains one table a case, with the instruction set that this process was started with.

  python -m monolith.native_training.optimizer_conformance.table_training FILE

FILE becomes an `.npz` of, for the i-th case,

  `rows_i`      float32 `[STEPS, ROWS, DIM]`, after each step
  `restored_i`  float32 `[STEPS - MIDDLE, ROWS, DIM]`, of a table that was restored from
                a file that the first one saved after `MIDDLE` steps, and goes on
  `same_i`      whether both wrote the same file in the end: rows, state and times
"""

import pathlib
import tempfile

import numpy as np
from absl import app

from monolith.native_training.hash_table_ops import HashTable
from monolith.native_training.optimizer_conformance import case as conformance_case
from monolith.native_training.optimizer_conformance.case import (
  DIM,
  MIDDLE,
  STEPS,
  TABLE_NAME,
  Case,
)
from monolith.native_training.optimizer_conformance.cases import CASES


def _new_table(case: Case) -> HashTable:
  return HashTable(TABLE_NAME, DIM, optimizer=case.optimizer)


def _apply_gradients(table: HashTable, ids: np.ndarray, case: Case, step: int):
  table.apply_gradients(
    ids,
    conformance_case.gradients(step),
    learning_rate=case.tables_rate(step),
    update_time=step,
    global_step=step,
  )


def train(case: Case, folder: pathlib.Path) -> tuple[np.ndarray, np.ndarray, bool]:
  """`rows`, `restored` and `same` of a case; files go to `folder`."""
  ids, weights = conformance_case.start()
  table, restored = _new_table(case), _new_table(case)
  table.assign(ids, weights)
  rows, restored_rows = [], []
  for step in range(STEPS):
    if step == MIDDLE:
      table.save(str(folder / "middle"))
      restored.restore(str(folder / "middle"))
    _apply_gradients(table, ids, case, step)
    rows.append(table.lookup(ids).numpy())
    if step >= MIDDLE:
      _apply_gradients(restored, ids, case, step)
      restored_rows.append(restored.lookup(ids).numpy())
  table.save(str(folder / "end"))
  restored.save(str(folder / "end of the restored"))
  same = (folder / "end").read_bytes() == (folder / "end of the restored").read_bytes()
  return np.array(rows), np.array(restored_rows), same


def main(argv):
  if len(argv) != 2:
    raise app.UsageError(f"got {argv[1:]}, wanted the file to write")
  arrays = {}
  with tempfile.TemporaryDirectory() as folder:
    for i, case in enumerate(CASES):
      results = train(case, pathlib.Path(folder))
      for name, result in zip(("rows", "restored", "same"), results, strict=True):
        arrays[f"{name}_{i}"] = result
  np.savez(argv[1], **arrays)


if __name__ == "__main__":
  app.run(main)
