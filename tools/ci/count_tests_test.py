"""Tests of count_tests."""

import json
import pathlib

from absl.testing import absltest

from tools.ci import count_tests


def _configured(label: str, kind: str) -> dict:
  return {
    "id": {"targetConfigured": {"label": label}},
    "configured": {"targetKind": kind},
  }


def _summary(label: str, status: str) -> dict:
  return {
    "id": {"testSummary": {"label": label}},
    "testSummary": {"overallStatus": status},
  }


class CountTestsTest(absltest.TestCase):
  def _count(self, lines: list[str]) -> tuple[int, int]:
    file = self.create_tempfile(content="\n".join(lines))
    return count_tests.count(pathlib.Path(file.full_path))

  def test_counts_what_ran_and_what_did_not_get_to(self):
    events = [
      _configured("//:library", "cc_library rule"),
      _configured("//:good", "cc_test rule"),
      _configured("//:bad", "py_test rule"),
      _configured("//:flaky", "py_test rule"),
      _configured("//:unbuildable", "cc_test rule"),
      _summary("//:good", "PASSED"),
      _summary("//:bad", "FAILED"),
      _summary("//:flaky", "FLAKY"),
    ]
    self.assertEqual(self._count([json.dumps(event) for event in events]), (2, 2))

  def test_reads_a_file_that_was_cut_short(self):
    lines = [json.dumps(_summary("//:good", "PASSED")), '{"id": {"testSumm']
    self.assertEqual(self._count(lines), (1, 0))

  def test_takes_a_missing_file_for_no_tests(self):
    missing = pathlib.Path(self.create_tempdir().full_path) / "none.json"
    self.assertEqual(count_tests.count(missing), (0, 0))


if __name__ == "__main__":
  absltest.main()
