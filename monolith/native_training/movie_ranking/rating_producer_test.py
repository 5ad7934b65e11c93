import time
from unittest import mock

import confluent_kafka
from absl.testing import absltest
from confluent_kafka import KafkaError, KafkaException

from monolith.native_training.movie_ranking import rating_producer
from monolith.native_training.movie_ranking.delivery_errors import DeliveryErrors


class _Client:
  """Takes messages, all of which are delivered, or refuses them."""

  def __init__(self, settings, **unused_logger):
    self.settings = settings
    self.on_error = settings["error_cb"]
    self.refusals: list[KafkaError] = []
    self.fatal: KafkaError | None = None
    self.under_way = []

  def produce(self, topic, value, key, on_delivery):
    del topic, value, key
    if self.refusals:
      raise KafkaException(self.refusals.pop(0))
    self.under_way.append(on_delivery)

  def poll(self, secs):
    del secs
    if self.fatal:
      self.on_error(self.fatal)

  def flush(self, secs):
    del secs
    while self.under_way:
      self.under_way.pop()(None, None)
    return 0


class RatingProducerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(mock.patch.object(confluent_kafka, "Producer", _Client))
    self.said: list[str] = []
    self.errors = DeliveryErrors(self.said.append)
    self.producer = rating_producer.RatingProducer("h:1", "t", [], self.errors)
    self.client = self.producer._producer

  def _send(self) -> None:
    self.producer.send(1, 2, 3.0)

  def test_it_waits_for_as_long_as_it_is_told(self):
    self._send()
    begin = time.monotonic()
    self.producer.wait(0.3)  # Though the client comes back at once.
    self.assertGreaterEqual(time.monotonic() - begin, 0.3)

  def test_what_is_refused_at_once_is_counted(self):
    self._send()
    self.client.refusals = [KafkaError(KafkaError._UNKNOWN_TOPIC, "t is gone")]
    self._send()
    self._send()
    self.producer.finish()
    self.assertEqual(self.producer.delivered, 2)
    self.assertEqual(self.errors.counts, {"t is gone": 1})
    self.assertEqual(self.said, ["1 not delivered, 1 in all: t is gone (1)"])

  def test_who_wants_fewer_acknowledgements_need_not_turn_off_idempotence(self):
    for configuration, idempotence in (
      ([], "true"),
      (["acks=all"], "true"),
      (["acks=ALL"], "true"),
      (["request.required.acks=-1"], "true"),
      (["acks=0"], "false"),
      (["request.required.acks=1"], "false"),
      (["acks=0", "enable.idempotence=true"], "true"),
    ):
      with self.subTest(configuration):
        producer = rating_producer.RatingProducer(
          "h:1", "t", configuration, self.errors
        )
        settings = producer._producer.settings
        self.assertEqual(settings["enable.idempotence"], idempotence)

  def test_settings_that_sending_needs_are_refused(self):
    for setting, why in (
      ("bootstrap.servers=h:2", "it is --servers"),
      ("delivery.report.only.error=true", "what is delivered is counted"),
      ("transactional.id=x", "messages are sent one by one"),
    ):
      with self.subTest(setting), self.assertRaisesRegex(ValueError, f"set: {why}"):
        rating_producer.RatingProducer("h:1", "t", [setting], self.errors)

  def test_a_fatal_error_ends_it_and_what_is_under_way_is_delivered(self):
    self._send()
    self.client.fatal = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "fenced", True)
    self.client.refusals = [KafkaError(KafkaError._FATAL, "fatal error")]
    with self.assertRaisesRegex(rating_producer.ProducerFailed, "be sent: fenced"):
      self._send()
    self.producer.finish()
    self.assertEqual(self.producer.delivered, 1)
    self.assertEqual(self.errors.counts, {"fatal error": 1})


if __name__ == "__main__":
  absltest.main()
