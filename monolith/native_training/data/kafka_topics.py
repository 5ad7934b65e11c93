"""Topics that are made where they are missing."""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException, admin

from monolith.native_training.data import kafka_settings

_ANSWER_SECS = 10.0


def ensure(servers: str, topic: str, partitions: int, settings: Mapping[str, str] = {}):
  """Makes a topic, unless it is there.

  Args:
    servers: brokers, "host:port", several with commas between.
    topic: its name.
    partitions: how many it is to have; copies are as many as the brokers' default says.
    settings: of librdkafka, for the connection.

  Raises:
    RuntimeError: the brokers do not answer, or refuse.
  """
  connection = {**settings, "bootstrap.servers": servers}
  try:
    client = admin.AdminClient(connection, logger=kafka_settings.Silent())
    if topic in client.list_topics(timeout=_ANSWER_SECS).topics:
      return
    new = admin.NewTopic(topic, partitions)
    client.create_topics([new])[topic].result(_ANSWER_SECS)
  except TimeoutError:
    raise RuntimeError(
      f"topic {topic} cannot be made at {servers}: no answer for {_ANSWER_SECS:.0f} s"
    ) from None
  except KafkaException as error:
    reason = error.args[0]
    if reason.code() == KafkaError.TOPIC_ALREADY_EXISTS:
      return  # Somebody was quicker.
    raise RuntimeError(
      f"topic {topic} cannot be made at {servers}: {reason.str()}"
    ) from None
