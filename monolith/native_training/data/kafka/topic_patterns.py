"""Names of topics, and patterns of them, "^...".

Patterns are in what three languages of regular expressions share: names are matched by
librdkafka's POSIX expressions, with `group.protocol=consumer` by the brokers' RE2, and
here by Python's. Names have no characters but letters, digits, ".", "_" and "-", so
that nothing is missed.
"""

import re
from collections.abc import Iterable

_NAME = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}")  # "." and ".." are none.
# What one of the languages takes for something else than another, and what it is.
_REFUSED = (
  (r"\\(?![._-])", "a backslash that stands before none of . _ -"),
  (r"\[[^]]*\\", "a backslash between brackets"),
  (r"\[[^]]*\[", "a bracket between brackets"),
  (r"\(\?", "(?"),
  (r"[*+?}][+?]", "a repetition of a repetition"),
  (r"\{(?!\d{1,3}(,\d{0,3})?\})", "a brace that is none of {n}, {n,}, {n,m}"),
)


def check_name(topic: str, argument: str = "topics") -> None:
  """Checks a topic's name.

  Args:
    topic: the name.
    argument: what error messages call it.

  Raises:
    ValueError: brokers would not take it.
  """
  if not _NAME.fullmatch(topic):
    raise ValueError(
      f"{argument}: {topic!r} is no name of a topic, which has 1 to 249 letters, "
      "digits, dots, underscores and hyphens"
    )


def check(topic: str, argument: str = "topics") -> None:
  """Checks a topic's name or a pattern.

  Args:
    topic: the name or the pattern.
    argument: what error messages call it.

  Raises:
    ValueError: a name that brokers would not take, or a pattern that does not mean the
      same to all who match names.
  """
  if not topic.startswith("^"):
    check_name(topic, argument)
    return
  for refused, what in _REFUSED:
    if found := re.search(refused, topic):
      raise ValueError(
        f"{argument}: the pattern {topic!r} has {what} at {found.start()}, which not "
        "all who match names understand alike; [0-9], [a-z] and [.] are understood"
      )
  try:
    re.compile(topic)
  except re.error as error:
    raise ValueError(
      f"{argument}: the pattern {topic!r} is no regular expression: {error}"
    ) from None


def is_meant(name: str, topic: str) -> bool:
  """Whether a topic has that name, or a pattern means it: it begins so."""
  if topic.startswith("^"):
    return re.match(topic, name) is not None
  return name == topic


def is_meant_by_any(name: str, topics: Iterable[str]) -> bool:
  """`is_meant` of one topic or another. Names that begin with "__" are left out where
  none of the topics does: Kafka has such topics for itself."""
  topics = list(topics)
  if name.startswith("__") and not are_internal_meant(topics):
    return False
  return any(is_meant(name, topic) for topic in topics)


def are_internal_meant(topics: Iterable[str]) -> bool:
  """Whether a name or pattern asks for topics whose names begin with "__"."""
  return any(topic.removeprefix("^").startswith("__") for topic in topics)


def subscription(topic: str) -> str:
  """What a consumer subscribes to for a topic's name or a pattern.

  librdkafka looks for a pattern anywhere in a name, "b" of "^a|b" too; to brokers it
  is of whole names.
  """
  return f"^({topic[1:]}).*" if topic.startswith("^") else topic
