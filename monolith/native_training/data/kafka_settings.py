"""Settings of Kafka clients, as users write them: "key=value"."""

import re
from collections.abc import Mapping, Sequence


def parse(
  configuration: Sequence[str] | None, fixed: Mapping[str, str] | None = None
) -> dict[str, str]:
  """Settings of librdkafka by name.

  Args:
    configuration: each "key=value"; None is none.
    fixed: settings that are not the user's to choose, and what does so instead.

  Raises:
    ValueError: an item is not of that form, or names a setting twice or a fixed one.
  """
  if isinstance(configuration, str):
    raise ValueError(
      "configuration must be a list of 'key=value' strings, got one string, "
      f"{_without_value(configuration)}"
    )
  settings: dict[str, str] = {}
  for item in configuration or ():
    key, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    key = key.strip()
    if not key or not equals:
      raise ValueError(f"configuration: got {_without_value(item)}, wanted 'key=value'")
    if key in settings:
      raise ValueError(f"configuration: {key!r} is set twice")
    if fixed and key in fixed:
      raise ValueError(f"configuration: {key!r} cannot be set: {fixed[key]}")
    settings[key] = value.strip()
  return settings


def _without_value(item: object) -> str:
  """What can be shown of a setting, which may be a password."""
  if not isinstance(item, str):
    return repr(item)
  return repr(re.split(r"[^\w.]", item, maxsplit=1)[0] + "...")


class Silent:
  """A client's logger that takes librdkafka's own lines, which say again what its
  errors say."""

  def log(self, *arguments) -> None:
    del arguments
