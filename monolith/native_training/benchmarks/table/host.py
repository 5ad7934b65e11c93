"""A process that holds tables under test and does what its standard input says.

One JSON object a line asks for something, one a line answers (see `measurements`).
What libraries print goes to standard error. Ends with its input.
"""

from __future__ import annotations

import json
import os
import sys

from monolith.native_training.benchmarks.table.workload import Workload


def main() -> None:
  answers = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)
  settings = json.loads(sys.argv[1])
  # Only now: importing TensorFlow prints.
  from monolith.native_training.benchmarks.table import measurements

  host = measurements.Host(
    Workload(**settings["workload"]), settings["threads"], settings["module"]
  )
  for line in sys.stdin:
    request = json.loads(line)
    answer = getattr(host, request.pop("do"))(**request)
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
  main()
