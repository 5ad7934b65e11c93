"""Tells how a run gets on, unless the program has chosen what its log shows.

absl's log shows nothing below WARNING until a program asks for more, with `--verbosity`
or `logging.set_verbosity`. Progress is to be seen without asking: until then it goes to
Python's logger `monolith`, of level INFO, and with its handlers or the root's, if there
are any, otherwise to standard error.
"""

import logging as python_logging

from absl import flags, logging

_logger = python_logging.getLogger("monolith")
_logger.setLevel(python_logging.INFO)


@logging.skip_log_prefix
def info(message: str, *values: object) -> None:
  """Tells one line.

  Args:
    message: with a `%` format for each of `values`.
  """
  if not flags.FLAGS["verbosity"].using_default_value:
    logging.info(message, *values)
    return
  if not _logger.hasHandlers():
    handler = python_logging.StreamHandler()
    handler.setFormatter(
      python_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    _logger.addHandler(handler)
    _logger.propagate = False  # To handlers that come later: nothing is told twice.
  _logger.info(message, *values, stacklevel=2)
