"""Settings of Kafka clients, as users write them: "key=value"."""

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
      f"configuration must be a list of 'key=value' strings, got one string "
      f"{configuration!r}"
    )
  settings: dict[str, str] = {}
  for item in configuration or ():
    key, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    key = key.strip()
    if not key or not equals:
      raise ValueError(f"configuration: got {item!r}, wanted 'key=value'")
    if key in settings:
      raise ValueError(f"configuration: {key!r} is set twice")
    if fixed and key in fixed:
      raise ValueError(f"configuration: {key!r} cannot be set: {fixed[key]}")
    settings[key] = value.strip()
  return settings


class Silent:
  """A client's logger that takes librdkafka's own lines, which say again what its
  errors say."""

  def log(self, *arguments) -> None:
    del arguments
