from absl.testing import absltest
from confluent_kafka import KafkaError

from monolith.native_training.data.kafka.broker_errors import BrokerErrors, StreamFailed

_DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")


class BrokerErrorsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.errors = BrokerErrors("t from h:1", "plaintext")

  def _fails(self, how: str) -> None:
    line = f"[thrd:h:1/bootstrap]: h:1/bootstrap: {how}"
    self.errors.log(40, "%s [%s] %s", "FAIL", "rdkafka#consumer-1", line)

  def _said(self, error: KafkaError = _DOWN) -> str:
    with self.assertLogs(level="WARNING") as logged:
      self.errors.note(error)
    (line,) = logged.output
    return line

  def test_errors_that_pass_are_logged_once_a_minute(self):
    self.assertEndsWith(
      self._said(), "reading t from h:1: 1/1 brokers are down; waiting for it"
    )
    self.assertIn(": no h;", self._said(KafkaError(KafkaError._RESOLVE, "no h")))
    with self.assertNoLogs(level="WARNING"):
      self.errors.note(_DOWN)

  def test_the_log_has_why_connections_fail(self):
    how = "Connect to h:1 failed: Connection refused (after 0ms in state CONNECT)"
    self._fails(how)
    self.assertIn(f"down (h:1/bootstrap: {how}); waiting", self._said())
    self._fails(how)
    same = KafkaError(KafkaError._TRANSPORT, f"h:1/bootstrap: {how}")
    self.assertEqual(self._said(same).count(how), 1)

  def test_the_log_has_what_debug_asks_for_and_no_more(self):
    with self.assertLogs(level="INFO") as logged:
      self.errors.log(40, "%s [%s] %s", "FAIL", "consumer-1", "refused")
      self.errors.log(10, "%s [%s] %s", "SASL", "consumer-1", "100 % PLAIN")
    (line,) = logged.output
    self.assertEndsWith(line, ":librdkafka: SASL [consumer-1] 100 % PLAIN")

  def test_a_connection_that_was_to_end_is_no_reason(self):
    self._fails("Connection refused")
    self.errors.log(10, "%s [%s] %s", "FAIL", "consumer-1", "handle is terminating")
    self.assertIn("down (h:1/bootstrap: Connection refused); waiting", self._said())

  def test_a_protocol_that_may_be_wrong_is_named(self):
    for after in ("4ms in state APIVERSION_QUERY", "3000ms in state APIVERSION_QUERY"):
      self._fails(f"Disconnected: closed by peer (after {after})")
      said = self.errors.explained(_DOWN)
      self.assertRegex(said, "often want another security.protocol than 'plaintext'")
    # Without a login it is up before brokers can ask for one.
    self._fails("Disconnected: closed by peer (after 40ms in state UP)")
    self.assertRegex(self._said(), "another security.protocol than 'plaintext'")

  def test_a_connection_that_was_good_before_says_nothing_of_protocols(self):
    for millis in (3000, 90000):
      self._fails(f"Disconnected: closed by peer (after {millis}ms in state UP)")
      self.assertNotIn("security.protocol", self.errors.explained(_DOWN))

  def test_a_failed_connection_is_no_reason_for_other_errors(self):
    self._fails(
      "Connect to h:1 failed: Connection refused (after 0ms in state CONNECT)"
    )
    unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "no t")
    self.assertEndsWith(self._said(unknown), "no t; waiting for it")

  def test_errors_that_end_it(self):
    for error in (
      KafkaError(KafkaError._AUTHENTICATION, "wrong password"),
      KafkaError(KafkaError._SSL, "certificate verify failed"),
      KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "t is secret"),
      KafkaError(KafkaError._TRANSPORT, "fenced", fatal=True),
    ):
      with self.assertRaisesRegex(
        StreamFailed, f"cannot read t from h:1: {error.str()}"
      ):
        self.errors.note(error)

  def test_a_connection_that_breaks_while_it_is_encrypted_passes(self):
    self._said(KafkaError(KafkaError._SSL, "SSL transport error: Connection timed out"))


if __name__ == "__main__":
  absltest.main()
