import os
import threading
import time
from unittest import mock

from absl.testing import absltest, parameterized
from confluent_kafka import KafkaError

from monolith.native_training.data import dead_letters, kafka_topics
from monolith.native_training.data.bad_messages import BadMessage, BadMessages
from monolith.native_training.data.dead_letters import KafkaDeadLetters


class FakeProducer:
  """Keeps messages until it is polled; `room` is how many it can keep."""

  def __init__(self, settings, room=1000, error=None):
    self.settings = settings
    self.room = room
    self.error = error
    self.waiting = []
    self.sent = []

  def produce(self, topic, value, headers, on_delivery):
    if len(self.waiting) >= self.room:
      raise BufferError("queue is full")
    self.waiting.append((topic, value, headers, on_delivery))

  def poll(self, timeout):
    for topic, value, headers, on_delivery in self.waiting:
      self.sent.append((topic, value, dict(headers)))
      on_delivery(self.error, None)
    self.waiting = []

  def flush(self, timeout):
    self.poll(timeout)
    return 0


BAD = BadMessage(b"\xff\x00raw", "feature 'mov' is missing", "clicks", 3, 2**40)


class DeadLettersTest(parameterized.TestCase):
  def letters(self, configuration=None, **options):
    self.producers = []  # The first is for a look at the settings.

    def make(settings):
      self.producers.append(FakeProducer(settings, **options))
      return self.producers[-1]

    return KafkaDeadLetters("h:1,i:2", "dead", configuration, make)

  def test_sends_the_bytes_and_where_they_were(self):
    letters = self.letters(["acks=all", "sasl.password=a=b"])
    self.assertLen(self.producers, 1)
    letters.send([BAD, BadMessage(b"", "not a tf.train.Example")])
    (_, producer) = self.producers
    self.assertEqual(
      producer.sent,
      [
        (
          "dead",
          b"\xff\x00raw",
          {
            "reason": b"feature 'mov' is missing",
            "source_topic": b"clicks",
            "source_partition": b"3",
            "source_offset": b"1099511627776",
          },
        ),
        ("dead", b"", {"reason": b"not a tf.train.Example"}),
      ],
    )
    self.assertEqual(producer.settings["bootstrap.servers"], "h:1,i:2")
    self.assertEqual(producer.settings["acks"], "all")
    self.assertEqual(producer.settings["sasl.password"], "a=b")
    self.assertEqual((letters.delivered, letters.failed), (2, 0))

  def test_what_comes_from_the_topic_itself_is_not_sent_back(self):
    letters = self.letters()
    messages = BadMessages(1, letters)
    again = BadMessage(b"x", "garbage", "dead", 1, 17)
    with self.assertRaisesRegex(
      RuntimeError,
      "^the topic 'dead' is read, and bad messages are sent to it, .*: topic 'dead', "
      r"partition 1, offset 17 is bad \(garbage\). Send them to a topic of another",
    ):
      messages.report(9, [BAD, again])
    self.assertLen(self.producers, 1)
    self.assertEqual((letters.delivered, letters.failed), (0, 0))

  def test_a_full_queue_is_waited_for_once(self):
    letters = self.letters(room=1)
    letters.send([BAD] * 3)
    self.assertEqual((letters.delivered, letters.failed), (3, 0))
    letters = self.letters(room=0)
    with self.assertLogs(level="ERROR") as logged:
      letters.send([BAD] * 3)
    self.assertEqual((letters.delivered, letters.failed), (0, 3))
    self.assertLen(logged.output, 1)
    self.assertIn("'dead' (3 lost so far): queue is full", logged.output[0])

  def test_errors_of_delivery_are_counted(self):
    letters = self.letters(error="no such topic")
    letters.send([BAD])
    self.assertEqual((letters.delivered, letters.failed), (0, 1))

  def test_errors_of_delivery_are_told_when_no_other_message_comes(self):
    with mock.patch.object(dead_letters, "_POLL_SECS", 0.01):
      letters = self.letters(error="no such topic")
      with self.assertLogs(level="ERROR") as logged:
        letters.send([])
        self.producers[-1].poll = mock.Mock()
        letters.send([BAD] * 3)  # Nothing is known of them yet.
        self.assertEqual(letters.failed, 0)
        del self.producers[-1].poll
        give_up = time.monotonic() + 30
        while not logged.output and time.monotonic() < give_up:
          time.sleep(0.01)
    self.assertIn("'dead' (3 lost so far): no such topic", logged.output[0])

  def test_all_that_is_lost_is_told_in_the_end(self):
    threads = threading.enumerate()
    letters = self.letters(error="no such topic")
    with self.assertLogs(level="ERROR") as logged:
      letters.send([BAD])
      letters.send([BAD] * 2)
      self.assertLen(logged.output, 1)
      letters.close()
    self.assertIn("(3 lost so far)", logged.output[-1])
    self.assertEqual(threading.enumerate(), threads)

  def test_the_topic_is_made_and_what_keeps_it_from_that_is_told_at_once(self):
    refused = RuntimeError("topic dead cannot be made at 127.0.0.1:1: not authorized")
    is_made = threading.Event()
    answers = [refused, refused, None]

    def ensure(servers, topic, partitions, settings):
      self.assertEqual((servers, topic, partitions), ("127.0.0.1:1", "dead", 1))
      self.assertEqual(settings["ssl.ca.location"], "ca.pem")
      answer = answers.pop(0)
      if answer:
        raise answer
      is_made.set()

    with (
      mock.patch.object(kafka_topics, "ensure", ensure),
      mock.patch.object(dead_letters, "_POLL_SECS", 0.01),
    ):
      letters = KafkaDeadLetters("127.0.0.1:1", "dead", ["ssl.ca.location=ca.pem"])
      self.assertLen(answers, 3)  # It may be made before processes fork.
      with self.assertLogs(level="ERROR") as logged:
        letters.send([BAD])
        self.assertTrue(is_made.wait(30))
        output = list(logged.output)
        letters.close(0)
    self.assertLen(output, 1)
    self.assertIn("cannot be sent yet: topic dead cannot be made", output[0])
    self.assertIn("not authorized", output[0])

  def test_close_waits_and_counts_what_is_left(self):
    letters = self.letters()
    letters.close()  # Nothing was sent.
    letters.send([BAD])
    (_, producer) = self.producers
    producer.flush = lambda timeout: 2
    letters.close()
    self.assertEqual(letters.failed, 2)
    letters.send([BAD])
    self.assertLen(self.producers, 3)

  def test_a_forked_process_connects_anew(self):
    letters = self.letters()
    letters.send([BAD])
    child = os.fork()
    if not child:
      letters.send([BAD])
      os._exit(len(self.producers))
    self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 3)
    self.assertLen(self.producers, 2)

  def test_a_setting_that_does_not_exist_is_named(self):
    with self.assertRaisesRegex(ValueError, "topic 'dead': No such .* \"lingr.ms\""):
      KafkaDeadLetters("127.0.0.1:1", "dead", ["lingr.ms=1"])

  def test_debug_has_an_effect(self):
    letters = KafkaDeadLetters("127.0.0.1:1", "dead", ["debug=broker"])
    with self.assertLogs(level="INFO") as logged:
      letters.send([BAD])
    self.assertRegex(logged.output[0], r"librdkafka: \w+ \[rdkafka#producer-\d+\] ")
    letters.close(0)

  def test_connections_that_fail_are_logged(self):
    letters = self.letters()
    letters.send([BAD])
    with self.assertLogs(level="WARNING") as logged:
      for _ in range(2):
        self.producers[-1].settings["error_cb"](KafkaError(KafkaError._RESOLVE, "no h"))
    self.assertLen(logged.output, 1)
    self.assertIn("to topic 'dead' of h:1,i:2: no h", logged.output[0])

  def test_a_setting_of_the_user_holds_whatever_its_name(self):
    self.letters(["compression.codec=zstd", "queue.buffering.max.ms=5"])
    (producer,) = self.producers
    self.assertNotIn("compression.type", producer.settings)
    self.assertNotIn("linger.ms", producer.settings)

  @parameterized.parameters(
    (("", "t"), "servers must be a string"),
    ((["h:1"], "t"), "servers must be a string"),
    (("h:1", None), "topic must be a string"),
    (("h:1", "t", "acks=all"), "must be a list of 'key=value'"),
    (("h:1", "t", ["acks"]), r"got 'acks\.\.\.', wanted 'key=value'"),
    (("h:1", "t", ["bootstrap.servers=x"]), "it is the argument .servers."),
    (("h:1", "t", ["metadata.broker.list=x"]), "it is the argument .servers."),
    (("h:1", "t", ["transactional.id=x"]), "messages are sent one by one"),
  )
  def test_arguments_are_checked(self, arguments, message):
    with self.assertRaisesRegex(ValueError, message):
      KafkaDeadLetters(*arguments)


if __name__ == "__main__":
  absltest.main()
