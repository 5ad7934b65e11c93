"""Counts the tests of a Bazel run from its event file.

Prints `PASSED FAILED`, the numbers of test targets. One that did not get to run,
because it could not be built for example, has failed.
"""

import json
import pathlib
import sys


def count(events: pathlib.Path) -> tuple[int, int]:
  """Returns how many test targets passed and how many did not.

  Args:
    events: what Bazel wrote for `--build_event_json_file`; may be missing or cut short.
  """
  configured = set()
  passed = set()
  for line in events.read_text().splitlines() if events.exists() else ():
    try:
      event = json.loads(line)
    except json.JSONDecodeError:
      continue  # Bazel was stopped while it wrote.
    ids = event.get("id", {})
    kind = event.get("configured", {}).get("targetKind", "")
    if "targetConfigured" in ids and kind.endswith("_test rule"):
      configured.add(ids["targetConfigured"]["label"])
    status = event.get("testSummary", {}).get("overallStatus")
    if status:
      label = ids["testSummary"]["label"]
      configured.add(label)
      # A flaky test failed first and passed later.
      if status in ("PASSED", "FLAKY"):
        passed.add(label)
  return len(passed), len(configured - passed)


if __name__ == "__main__":
  print(*count(pathlib.Path(sys.argv[1])))
