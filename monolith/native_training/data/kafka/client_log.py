"""The log of a Kafka client whose errors are told otherwise."""

import logging

from monolith.native_training.progress_log import progress_log


def is_debug(level: int) -> bool:
  """Whether a line is one that `debug` asks for."""
  return level <= logging.DEBUG


class ClientLog:
  """A client's logger: tells the lines that the setting `debug` asks for, and leaves
  out the others, which say again what the client's errors say."""

  def log(self, level: int, line: str, *values: object) -> None:
    """Takes a line of librdkafka's log.

    Args:
      level: as Python's `logging` has them.
      line: with a `%` format for each of `values`: a word for the event, the client,
        and what happened.
    """
    if is_debug(level):
      progress_log.info(f"librdkafka: {line}", *values)
