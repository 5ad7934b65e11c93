"""Settings of Kafka clients, as users write them: "key=value"."""

import re
from collections.abc import Mapping, Sequence

# Names for which librdkafka has another one, which it takes instead.
_OTHER_NAMES = {
  "acks": "request.required.acks",
  "auto.commit.enable": "enable.auto.commit",
  "bootstrap.servers": "metadata.broker.list",
  "compression.type": "compression.codec",
  "delivery.timeout.ms": "message.timeout.ms",
  "linger.ms": "queue.buffering.max.ms",
  "max.in.flight": "max.in.flight.requests.per.connection",
  "max.partition.fetch.bytes": "fetch.message.max.bytes",
  "retries": "message.send.max.retries",
  "sasl.mechanism": "sasl.mechanisms",
  "sasl.oauthbearer.client.credentials.client.id": "sasl.oauthbearer.client.id",
  "sasl.oauthbearer.client.credentials.client.secret": (
    "sasl.oauthbearer.client.secret"
  ),
}
# Not to choose where messages are sent one by one and their deliveries counted.
FIXED_BY_SENDING = {
  "delivery.report.only.error": "what is delivered is counted",
  "transactional.id": "messages are sent one by one",
}
# What the Python client takes beside librdkafka's settings, none of it text.
_NO_TEXT = (
  "default.topic.config",
  "error_cb",
  "logger",
  "oauth_cb",
  "on_commit",
  "on_delivery",
  "stats_cb",
  "throttle_cb",
)


def parse(
  configuration: Sequence[str] | None,
  fixed: Mapping[str, str] | None = None,
  defaults: Mapping[str, str] | None = None,
) -> dict[str, str]:
  """Settings of librdkafka by name. A setting may go by any of its names.

  Args:
    configuration: each "key=value"; None is none. Blanks after the "=" are left
      out, as librdkafka does; those at a value's end are part of it.
    fixed: settings that are not the user's to choose, and what does so instead.
    defaults: those that hold where the user sets nothing.

  Raises:
    ValueError: an item is not of that form, or names a setting twice or a fixed one.
  """
  if isinstance(configuration, str):
    raise ValueError(
      "configuration must be a list of 'key=value' strings, got one string, "
      f"{_without_value(configuration)}"
    )
  why = {_one_name(key): reason for key, reason in (fixed or {}).items()}
  settings: dict[str, str] = {}
  names: dict[str, str] = {}
  for item in configuration or ():
    key, equals, value = item.partition("=") if isinstance(item, str) else ("", "", "")
    key = key.strip()
    if not key or not equals:
      raise ValueError(f"configuration: got {_without_value(item)}, wanted 'key=value'")
    name = _one_name(key)
    if key in settings:
      raise ValueError(f"configuration: {key!r} is set twice")
    if name in names:
      raise ValueError(
        f"configuration: {names[name]!r} and {key!r} are names of one setting"
      )
    if name in why:
      raise ValueError(f"configuration: {key!r} cannot be set: {why[name]}")
    if key in _NO_TEXT:
      raise ValueError(f"configuration: {key!r} cannot be set: it is no text")
    settings[key] = value.lstrip()
    names[name] = key
  unset = {k: v for k, v in (defaults or {}).items() if _one_name(k) not in names}
  return {**unset, **settings}


def _one_name(key: str) -> str:
  return _OTHER_NAMES.get(key, key)


def _without_value(item: object) -> str:
  """What can be shown of a setting, which may be a password."""
  if not isinstance(item, str):
    return repr(item)
  return repr(re.split(r"[^\w.]", item, maxsplit=1)[0] + "...")
