"""Every optimizer of `entry.py` through `HashTable`, beside its reference.

  tools/bazel run //monolith/native_training/optimizer_conformance:conformance_test

prints the table of runtime/hash_table/optimizer/README.md. Tables are trained in one
process an instruction set, which `MONOLITH_INSTRUCTION_SET` forces.
"""

import dataclasses
import os
import subprocess
import sys

import numpy as np
from absl.testing import absltest

from monolith.native_training import entry
from monolith.native_training.local_runner.local_cluster import python_environment
from monolith.native_training.optimizer_conformance import case as conformance_case
from monolith.native_training.optimizer_conformance.case import (
  DIM,
  MIDDLE,
  ROWS,
  STEPS,
  Case,
)
from monolith.native_training.optimizer_conformance.cases import CASES

_TRAINING = "monolith.native_training.optimizer_conformance.table_training"
_VARIABLE = "MONOLITH_INSTRUCTION_SET"
_INSTRUCTION_SETS = ("portable", "avx2", "avx512")
_LIMIT_OF_ROW, _LIMIT_OF_FLOAT = 1e-6, 1e-5


class _Training:
  """A process that trains the tables of all cases."""

  def __init__(self, instruction_set: str, file: str):
    self._instruction_set, self._file = instruction_set, file
    self._process = subprocess.Popen(
      [sys.executable, "-m", _TRAINING, file],
      env={**python_environment(), _VARIABLE: instruction_set},
      stderr=subprocess.PIPE,
      text=True,
    )

  def arrays(self) -> dict[str, np.ndarray] | None:
    """What it wrote; None if this machine lacks the instruction set."""
    _, log = self._process.communicate()
    if self._process.returncode != 0:
      raise RuntimeError(f"training with {self._instruction_set} failed:\n{log}")
    if f"{_VARIABLE}: got " in log:
      return None
    with np.load(self._file) as arrays:
      return dict(arrays)

  def stop(self):
    if self._process.poll() is None:
      self._process.kill()
      self._process.communicate()


def _reference_rows(case: Case) -> np.ndarray:
  """The reference's weights after each step: `[STEPS, ROWS, DIM]`."""
  _, weights = conformance_case.start()
  reference = case.reference(weights.shape)
  rows = []
  for step in range(STEPS):
    weights = reference(
      weights, conformance_case.gradients(step), case.references_rate(step)
    )
    rows.append(weights)
  return np.array(rows)


def _largest_so_far(rows: np.ndarray) -> np.ndarray:
  """The largest magnitude that each row has had since the start: `[STEPS, ROWS, 1]`."""
  _, start = conformance_case.start()
  largest = np.abs(np.concatenate([start[np.newaxis], rows])).max(axis=2, keepdims=True)
  return np.maximum.accumulate(largest)[1:].astype(np.float64)


def _errors(rows: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
  """The largest error of all steps: as part of its row, and of the float itself."""
  difference = np.abs(rows.astype(np.float64) - wanted)
  row = _largest_so_far(wanted)
  itself = np.maximum(np.abs(wanted), row / 10)
  return (difference / row).max(), (difference / itself).max()


class OptimizerConformanceTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = absltest.get_default_test_tmpdir()
    trainings = {
      name: _Training(name, os.path.join(folder, f"{name}.npz"))
      for name in _INSTRUCTION_SETS
    }
    for training in trainings.values():
      cls.addClassCleanup(training.stop)
    cls.wanted = [_reference_rows(case) for case in CASES]
    arrays = {name: training.arrays() for name, training in trainings.items()}
    cls.trained = {name: found for name, found in arrays.items() if found}

  def test_every_optimizer_equals_its_reference(self):
    lines = []
    for i, case in enumerate(CASES):
      wanted = self.wanted[i]
      self.assertTrue(
        np.all(np.isfinite(wanted)) and np.any(wanted[-1] != 0), case.name
      )
      cells, of_floats = [], []
      for name in _INSTRUCTION_SETS:
        if name not in self.trained:
          cells.append("not on this machine")
          continue
        of_row, of_float = _errors(self.trained[name][f"rows_{i}"], wanted)
        cells.append(f"{of_row:.1e}")
        of_floats.append(of_float)
        with self.subTest(case=case.name, instruction_set=name):
          self.assertLess(of_row, _LIMIT_OF_ROW)
          self.assertLess(of_float, _LIMIT_OF_FLOAT)
      cells.append(f"{max(of_floats):.1e}")
      lines.append(f"| `{case.name}` | {case.reference_name} | {' | '.join(cells)} |")
    print(
      f"{STEPS} steps, {ROWS} rows of {DIM} floats. Portable, AVX2, AVX-512: the "
      "largest difference of any float after any step, relative to the largest float "
      f"that its row has had until then (limit {_LIMIT_OF_ROW:.0e}). Of the float: the "
      "largest, relative to the float itself, or to a tenth of the former where it is "
      f"smaller (limit {_LIMIT_OF_FLOAT:.0e}).\n"
    )
    print("| optimizer | reference | portable | AVX2 | AVX-512 | of the float |")
    print("|---|---|---|---|---|---|", *lines, sep="\n", flush=True)

  def test_every_instruction_set_gives_the_same_bits(self):
    self.assertIn("portable", self.trained)
    for name, arrays in self.trained.items():
      for i, case in enumerate(CASES):
        with self.subTest(case=case.name, instruction_set=name):
          np.testing.assert_array_equal(
            arrays[f"rows_{i}"], self.trained["portable"][f"rows_{i}"]
          )

  def test_training_goes_on_after_restore(self):
    """A table that was saved and restored halfway ends with the same rows and state."""
    for name, arrays in self.trained.items():
      for i, case in enumerate(CASES):
        with self.subTest(case=case.name, instruction_set=name):
          np.testing.assert_array_equal(
            arrays[f"restored_{i}"], arrays[f"rows_{i}"][MIDDLE:]
          )
          self.assertTrue(arrays[f"same_{i}"])

  def test_every_option_has_a_case(self):
    """Each optimizer, each of its settings, and each rate that may change."""
    changed = {}
    for case in CASES:
      settings = changed.setdefault(type(case.optimizer), set())
      settings.update(case.changed_settings)
      if case.schedule:
        settings.add("schedule")
    for optimizer in vars(entry).values():
      if (
        isinstance(optimizer, type)
        and issubclass(optimizer, entry.Optimizer)
        and optimizer is not entry.Optimizer
      ):
        wanted = {field.name for field in dataclasses.fields(optimizer)}
        if hasattr(optimizer(), "learning_rate"):
          wanted.add("schedule")
        missing = wanted - changed[optimizer] - {"learning_rate"}
        self.assertEmpty(missing, optimizer.__name__)

  def test_ftrl_shrinks_to_zero_where_the_reference_does(self):
    for i, case in enumerate(CASES):
      if not (
        isinstance(case.optimizer, entry.FtrlOptimizer)
        and case.optimizer.l1_regularization > 0
      ):
        continue
      with self.subTest(case=case.name):
        zeros = self.trained["portable"][f"rows_{i}"] == 0
        np.testing.assert_array_equal(zeros, self.wanted[i] == 0)
        self.assertBetween(zeros.mean(), 0.01, 0.999)


if __name__ == "__main__":
  absltest.main()
