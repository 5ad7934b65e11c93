import json
import os
import pathlib

from absl.testing import absltest

from monolith.native_training.stream_delivery import delivery_report, kill_plan
from monolith.native_training.stream_delivery.delivery_verdict import Verdict
from monolith.native_training.stream_delivery.kill_round import Outcome


def _round(number: int, verdict: Verdict) -> delivery_report.Round:
  outcome = Outcome(
    kill_plan.Kill(kill_plan.SERVER, 1, 7.5, 0.0),
    "/folder",
    "topic",
    struck="ps 1",
    restarts=1,
    acknowledged=20_000,
    committed=[10_000, 10_000],
    seconds=45.67,
  )
  return delivery_report.Round(number, outcome, verdict)


class DeliveryReportTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.good = _round(3, Verdict([], 0, 12, 3400, 7000))
    self.lost = _round(12, Verdict(["no checkpoint", "exit codes ps 0: 1"]))

  def test_cells_stand_under_their_heading(self):
    heading, rule = delivery_report.heading().splitlines()
    names = [cell.strip() for cell in heading.strip("|").split("|")]
    cells = [
      cell.strip() for cell in delivery_report.row(self.good).strip("|").split("|")
    ]
    self.assertEqual(
      dict(zip(names, cells, strict=True)),
      {
        "round": "3",
        "killed": "ps 1",
        "at s": "7.5",
        "restarts": "1",
        "sent": "20000",
        "missing": "0",
        "repeats": "12",
        "again": "3400",
        "bound": "7000",
        "committed": "20000",
        "seconds": "45.7",
        "verdict": "ok",
      },
    )
    self.assertLen({len(heading), len(rule), len(delivery_report.row(self.good))}, 1)

  def test_what_was_lost_stands_below(self):
    row, *problems = delivery_report.row(self.lost).splitlines()
    self.assertRegex(row, r" - \|.* LOST +\|$")
    self.assertEqual([p.strip() for p in problems], self.lost.verdict.problems)

  def test_summary(self):
    self.assertEqual(
      delivery_report.summary([self.good]),
      "1 rounds, 20,000 messages, 0 of them skipped: none lost",
    )
    self.assertIn("1 lost (12)", delivery_report.summary([self.good, self.lost]))

  def test_json(self):
    path = os.path.join(self.create_tempdir().full_path, "report.json")
    delivery_report.write_json(path, 7, [self.good, self.lost])
    content = json.loads(pathlib.Path(path).read_text())
    self.assertEqual((content["seed"], content["rounds_lost"]), (7, 1))
    first, second = content["rounds"]
    self.assertEqual(first["kill"]["victim"], kill_plan.SERVER)
    self.assertEqual(first["trained_again"], 3400)
    self.assertEqual(second["problems"], self.lost.verdict.problems)


if __name__ == "__main__":
  absltest.main()
