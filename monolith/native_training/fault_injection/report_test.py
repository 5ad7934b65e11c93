import json
import os
import pathlib

from absl.testing import absltest

from monolith.native_training.fault_injection import report
from monolith.native_training.fault_injection.fault_plan import (
  SERVER,
  TABLE_FILE,
  Fault,
)
from monolith.native_training.fault_injection.job_round import Outcome
from monolith.native_training.fault_injection.verdict import Verdict


def _round(name: str, was_caught: bool, verdict: Verdict) -> report.Round:
  outcome = Outcome(
    Fault(TABLE_FILE, SERVER),
    "/folder",
    struck=["ps 1"],
    was_caught=was_caught,
    restarts={"ps 0": 0, "ps 1": 2},
    seconds=12.34,
    examples_trained_again=96,
  )
  return report.Round(name, outcome, verdict)


class ReportTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    good = Verdict([], 38_400, 1200, 0.00234, 1, 2)
    self.good = _round("3", True, good)
    self.lost = _round("12", False, Verdict(["no checkpoint", "exit codes ps 0: 1"]))

  def test_rows_stand_under_their_heading(self):
    heading, row = report.heading().splitlines()[0], report.row(self.good)
    for name, value in (
      ("restarts", "2"),
      ("asked", "38400"),
      ("trained", "38400"),
      ("again", "96"),
      ("missing", "1"),
      ("twice", "2"),
      ("loss", "0.0023"),
      ("seconds", "12.3"),
    ):
      end = heading.index(name) + len(name)
      self.assertEqual(row[:end].split()[-1], value)
    self.assertRegex(row, r" ok +\|$")

  def test_what_was_lost_stands_below(self):
    row, *problems = report.row(self.lost).splitlines()
    self.assertRegex(row, r"writing a table file \(late\) .* LOST +\|$")
    self.assertEqual([p.strip() for p in problems], self.lost.verdict.problems)

  def test_what_came_too_late_shows_nothing(self):
    late = _round("4", False, Verdict())
    self.assertTrue(late.is_late)
    self.assertRegex(report.row(late), r"\(late\) .* again +\|$")
    late.outcome.struck = []  # Not at all.
    self.assertTrue(late.is_late)
    self.assertFalse(self.good.is_late)
    self.assertFalse(self.lost.is_late)

  def test_summary(self):
    self.assertEqual(
      report.summary([self.good]), "1 rounds, 1 processes killed, 2 restarts: none lost"
    )
    self.assertIn("1 lost (12)", report.summary([self.good, self.lost]))

  def test_json(self):
    path = os.path.join(self.create_tempdir().full_path, "report.json")
    report.write_json(path, 7, 0.01, [self.good, self.lost])
    content = json.loads(pathlib.Path(path).read_text())
    self.assertEqual((content["seed"], content["rounds_lost"]), (7, 1))
    first, second = content["rounds"]
    self.assertEqual(first["fault"]["when"], TABLE_FILE)
    self.assertEqual(first["struck"], ["ps 1"])
    self.assertEqual(second["problems"], self.lost.verdict.problems)


if __name__ == "__main__":
  absltest.main()
