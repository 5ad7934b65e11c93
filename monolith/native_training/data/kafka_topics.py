"""Topics, asked for and made by who does not read them."""

import contextlib
from collections.abc import Iterator, Mapping

from confluent_kafka import KafkaError, KafkaException, admin

from monolith.native_training.data.kafka import broker_errors

_ANSWER_SECS = 10.0


def check(servers: str, settings: Mapping[str, str] = {}) -> None:
  """Checks that brokers say which topics they have.

  Args:
    servers: brokers, "host:port", several with commas between.
    settings: of librdkafka, for the connection.

  Raises:
    RuntimeError: they do not answer, or refuse; says why.
  """
  with _client(servers, settings) as client:
    client.list_topics(timeout=_ANSWER_SECS)


def ensure(
  servers: str, topic: str, partitions: int, settings: Mapping[str, str] = {}
) -> None:
  """Makes a topic, unless it is there.

  Args:
    servers: brokers, "host:port", several with commas between.
    topic: its name.
    partitions: how many it is to have; copies are as many as the brokers' default says.
    settings: of librdkafka, for the connection.

  Raises:
    RuntimeError: the brokers do not answer, or refuse; says why.
  """
  try:
    with _client(servers, settings) as client:
      if topic not in client.list_topics(timeout=_ANSWER_SECS).topics:
        _make(client, topic, partitions)
  except TimeoutError:
    raise RuntimeError(
      f"topic {topic} cannot be made at {servers}: no answer for {_ANSWER_SECS:.0f} s"
    ) from None
  except RuntimeError as error:
    raise RuntimeError(f"topic {topic} cannot be made at {servers}: {error}") from None


def _make(client: admin.AdminClient, topic: str, partitions: int) -> None:
  try:
    new = admin.NewTopic(topic, partitions)
    client.create_topics([new])[topic].result(_ANSWER_SECS)
  except KafkaException as error:
    # Somebody may have been quicker.
    if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
      raise


@contextlib.contextmanager
def _client(servers: str, settings: Mapping[str, str]) -> Iterator[admin.AdminClient]:
  """A client whose errors are RuntimeErrors with the reason: an answer that does not
  come has none itself."""
  protocol = settings.get("security.protocol", "plaintext")
  errors = broker_errors.BrokerErrors(servers, protocol)
  heard: list[KafkaError] = []
  connection = {**settings, "bootstrap.servers": servers, "error_cb": heard.append}
  try:
    client = admin.AdminClient(connection, logger=errors)
  except KafkaException as error:
    raise RuntimeError(error.args[0].str()) from None
  try:
    yield client
  except KafkaException as error:
    client.poll(0)  # Has what was heard meanwhile told.
    lasting = [e for e in heard if not broker_errors.passes(e)]
    reason = errors.explained(lasting[-1] if lasting else error.args[0])
    raise RuntimeError(reason) from None
