"""Lines of the processes' logs as a console shows them."""

from __future__ import annotations

import re

# What TensorFlow's C++ tells of itself, and what precedes the message in a line of
# Python's log, is in the log files only.
_CHATTER = re.compile(
  r"I0000 |E0000 .*cuInit|.{26}: I tensorflow/|\t \[\[\{\{node |"
  r"W0000 .*(rendezvous is aborting|RecvTensor cancelled)|"
  r"WARNING: All log messages before absl::InitializeLog"
)
_LOG_PREFIX = re.compile(r"([IWEF])\d{4} [\d:.]+ +\d+ \S+\.py:\d+\] ")
_SEVERITY = {"I": "", "W": "warning: ", "E": "error: ", "F": "fatal: "}


def shown(line: str) -> str:
  """What a console shows of a line; `""` where that is nothing."""
  if _CHATTER.match(line):
    return ""
  return _LOG_PREFIX.sub(lambda prefix: _SEVERITY[prefix[1]], line, count=1)
