"""Where a group begins, and its last commit, against a real broker."""

import threading
import time

from absl.testing import absltest

from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.group_test_case import GroupTestCase
from monolith.native_training.data.kafka.kafka_stream import KafkaStream
from monolith.native_training.data.kafka.stream_offsets import (
  BEGUN,
  MADE,
  Partition,
)


class ConsumerGroupTest(GroupTestCase):
  def test_where_to_begin_waits_for_a_broker_that_is_away(self):
    self.make_topic()
    self.send(10)
    stream = KafkaStream(self.topic, self.group, self.servers)
    asked = []

    def restart() -> None:
      asked.append(time.monotonic())
      if len(asked) == 2:
        self.broker.restart()

    self.broker.kill()
    with self.assertLogs(level="WARNING") as logged:
      found = stream.first_offsets({}, restart)
    self.assertIn(f"reading {self.topic} from {self.servers}: ", logged.output[0])
    self.assertIn("Connection refused", logged.output[0])
    marks = {p.partition for p in found if not p.is_real}
    self.assertEqual(marks, {BEGUN, MADE})
    self.assertEqual({p: o for p, o in found.items() if p.is_real}, self.at(0))
    # Whoever is asked to leave need not wait.
    with self.assertRaises(InterruptedError):
      stream.first_offsets({}, self._interrupt)

  def _interrupt(self) -> None:
    raise InterruptedError

  def test_where_to_begin_is_where_the_group_was_or_as_is_asked_for(self):
    self.make_topic()
    self.send(10)
    for reset, offset in (("smallest", 0), ("latest", 10)):
      group = self.consumer_group([f"auto.offset.reset={reset}"])
      self.assertEqual(group.first_offsets(), self.at(offset))
    # Whoever asks next gets the same, though the topic has grown.
    self.send(5)
    self.assertEqual(self.consumer_group().first_offsets(), self.at(10))
    strict = self.consumer_group(["auto.offset.reset=error"], "other")
    with self.assertRaisesRegex(
      StreamFailed, "'other' has committed no offset of topic"
    ):
      strict.first_offsets()

  def test_where_to_begin_at_the_end_waits_for_members_to_leave(self):
    self.make_topic()
    self.send(10)
    member = self.consumer()
    member.open()
    while not member.has_joined:
      member.consume()
    group = self.consumer_group(["auto.offset.reset=latest"])
    with self.assertLogs(level="WARNING"):
      self.assertIsNone(group.first_offsets())
    member.close()
    self.assertEqual(group.first_offsets(), self.at(10))

  def test_the_last_commit_waits_for_members_to_leave(self):
    self.make_topic()
    member, group = self.consumer(), self.consumer_group()
    member.open()
    while not member.has_joined:
      member.consume()
    begin = time.monotonic()
    with self.assertRaises(StreamFailed):
      group.commit_last(self.at(7), begin + 2)
    self.assertBetween(time.monotonic() - begin, 2, 15)
    leaving = threading.Timer(1, member.close)
    leaving.start()
    group.commit_last(self.at(7), time.monotonic() + 30)
    leaving.join()
    self.assertEqual(self.committed(), 7)

  def test_the_last_commit_does_not_wait_for_members_that_have_done_it(self):
    self.make_topic()
    member, group = self.consumer(), self.consumer_group()
    member.open()
    while not member.has_joined:
      member.consume()
    member.commit(self.at(7))
    begin = time.monotonic()
    group.commit_last(self.at(7), begin + 60)
    self.assertLess(time.monotonic() - begin, 30)
    self.assertEqual(self.committed(), 7)

  def test_offsets_of_topics_that_are_gone_hold_up_no_others(self):
    self.make_topic()
    gone = {Partition(self.group, "gone", 0): 3}
    member, group = self.consumer(), self.consumer_group()
    member.open()
    while not member.has_joined:
      member.consume()
    member.commit({**self.at(7), **gone})
    while self.committed() != 7:
      member.consume()
    member.close()
    group.commit_last({**self.at(8), **gone}, time.monotonic() + 30)
    self.assertEqual(self.committed(), 8)

  def test_the_last_commit_does_not_wait_for_ever_for_a_broker_that_is_away(self):
    self.make_topic()
    group = self.consumer_group()
    self.broker.kill()
    begin = time.monotonic()
    with self.assertRaises(StreamFailed):
      group.commit_last(self.at(7), begin + 2)
    self.assertBetween(time.monotonic() - begin, 2, 15)
    begin = time.monotonic()
    with self.assertRaises(StreamFailed):
      group.commit_last(self.at(7), begin + 30, answer_by=begin + 2)
    self.assertBetween(time.monotonic() - begin, 2, 15)
    self.broker.restart()
    group.commit_last(self.at(8), time.monotonic() + 30)
    self.assertEqual(self.committed(), 8)

  def test_brokers_that_answer_are_not_given_up_for_members_that_are_to_leave(self):
    self.make_topic()
    member, group = self.consumer(), self.consumer_group()
    member.open()
    while not member.has_joined:
      member.consume()
    leaving = threading.Timer(8, member.close)
    leaving.start()
    begin = time.monotonic()
    group.commit_last(self.at(7), begin + 60, answer_by=begin + 5)
    leaving.join()
    self.assertEqual(self.committed(), 7)


if __name__ == "__main__":
  absltest.main()
