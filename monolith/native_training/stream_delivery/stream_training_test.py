"""Training on topics of a real broker, in this process."""

import threading
import time
from collections.abc import Sequence

import confluent_kafka
import tensorflow as tf
from absl.testing import absltest
from confluent_kafka import TopicPartition, admin

from monolith.native_training.data.bad_messages import TooManyBadMessages
from monolith.native_training.data.kafka.broker_errors import StreamFailed
from monolith.native_training.data.kafka.stream_offsets import Partition
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.local_broker.broker_topics import BrokerTopics
from monolith.native_training.local_broker.local_broker import LocalBroker
from monolith.native_training.stream_delivery import message_counts
from monolith.native_training.stream_delivery.message_counts import MessageCounts
from monolith.native_training.training.checkpoints import checkpoint

_PARTITIONS = 3


def _slowly(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """The same, so late that whoever reads ahead has read all before."""

  def wait(positions):
    time.sleep(1.0)
    return positions

  positions = tf.numpy_function(wait, [batch["stream_position"]], tf.int64)
  positions.set_shape([None])
  return {**batch, "stream_position": positions}


def _passed(offsets: Sequence[int]) -> set[int]:
  """The numbers of the messages before an offset of each partition."""
  return {
    offset * _PARTITIONS + partition
    for partition, end in enumerate(offsets)
    for offset in range(end)
  }


class StreamTrainingTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls._broker = cls.enterClassContext(LocalBroker())
    cls._client = {"bootstrap.servers": cls._broker.bootstrap_servers}
    cls._admin = admin.AdminClient(cls._client)
    cls._topics = BrokerTopics(cls._broker.bootstrap_servers)

  def setUp(self):
    super().setUp()
    self._topic = self.id().rpartition(".")[2]
    self._topics.make(self._topic, _PARTITIONS)
    self._model_dir = self.create_tempdir().full_path
    self._sent = 0

  def _send(
    self, count: int, message=message_counts.message, topic: str | None = None
  ) -> None:
    numbers = range(self._sent, self._sent + count)
    self._topics.send(
      topic or self._topic,
      ({"value": message(n), "partition": n % _PARTITIONS} for n in numbers),
    )
    self._sent += count

  def _train(
    self,
    model_dir: str | None = None,
    steps=None,
    save_steps=None,
    kind: type[MessageCounts] = MessageCounts,
    **settings,
  ) -> MessageCounts:
    """Trains to the end of the stream, or for some steps; returns the model."""
    p = kind.params()
    p.servers, p.topics = self._broker.bootstrap_servers, self._topic
    p.group = self._topic
    for name, value in settings.items():
      setattr(p, name, value)
    config = RunnerConfig(
      model_dir=model_dir or self._model_dir, save_checkpoints_steps=save_steps
    )
    model = p.instantiate()
    Estimator(model, config).train(steps=steps)
    return model

  def _counts(self, model_dir: str | None = None) -> dict[int, int]:
    path = checkpoint.latest_checkpoint(model_dir or self._model_dir)
    return message_counts.counts(path)

  def _committed(self) -> list[int]:
    return [p.offset for p in self._offsets(self._topic)]

  def _covered(self, path: str) -> list[int]:
    """Up to which offset of each partition a checkpoint says that it has all."""
    offsets = message_counts.offsets(path)
    return [
      offsets.get(Partition(self._topic, self._topic, i), 0) for i in range(_PARTITIONS)
    ]

  def _offsets(self, group: str) -> list[TopicPartition]:
    consumer = confluent_kafka.Consumer({**self._client, "group.id": group})
    partitions = [TopicPartition(self._topic, i) for i in range(_PARTITIONS)]
    offsets = consumer.committed(partitions, timeout=10)
    consumer.close()
    return offsets

  def test_each_message_is_trained_on_once(self):
    self._send(3000)
    self._train()
    self.assertEqual(self._counts(), dict.fromkeys(range(3000), 1))
    self.assertEqual(self._committed(), [1000] * 3)
    # It goes on where it was.
    self._send(300)
    self._train(batch_size=64)
    self.assertEqual(self._counts(), dict.fromkeys(range(3300), 1))
    self.assertEqual(self._committed(), [1100] * 3)
    self.assertEqual(message_counts.covered(self._model_dir), 3300)

  def test_an_earlier_checkpoint_is_gone_on_from_whatever_is_committed(self):
    self._send(300)
    self._train(batch_size=10, steps=10)
    first = checkpoint.latest_checkpoint(self._model_dir)
    self._train(batch_size=10)
    self.assertEqual(self._committed(), [100] * 3)
    checkpoint.remove(checkpoint.latest_checkpoint(self._model_dir))
    checkpoint.write_state(self._model_dir, [first.rpartition("/")[2]])
    self.assertEqual(sum(self._counts().values()), 100)
    self._train(batch_size=10)
    self.assertEqual(self._counts(), dict.fromkeys(range(300), 1))

  def test_a_model_without_checkpoint_begins_where_the_group_has_committed(self):
    self._send(300)
    self._train()
    self._send(30)
    other = self.create_tempdir().full_path
    self._train(other)
    self.assertEqual(self._counts(other), dict.fromkeys(range(300, 330), 1))

  def test_messages_that_do_not_fill_a_batch_do_not_wait(self):
    self._send(70)
    self._train(batch_size=64)
    self.assertEqual(self._counts(), dict.fromkeys(range(70), 1))

  def test_bad_messages_are_covered(self):
    self._send(3000)
    self._send(20, lambda number: b"garbage")
    self._train()
    self.assertEqual(self._counts(), dict.fromkeys(range(3000), 1))
    self.assertEqual(sum(self._committed()), 3020)

  def test_some_garbage_is_passed_over(self):
    garbage = set(range(7, 10_000, 100))
    self._send_with(garbage, 10_000)
    self._topics.make(f"{self._topic}-bad", 1)
    model = self._train(batch_size=50, dead_letters=f"{self._topic}-bad")
    self.assertEqual(self._counts(), {n: 1 for n in range(10_000) if n not in garbage})
    self.assertEqual(model.bad_messages.bad, 100)
    self.assertEqual(sum(self._committed()), 10_000)
    letters = self._dead_letters(f"{self._topic}-bad", 100)
    self.assertEqual({number for number, _ in letters}, garbage)
    for number, headers in letters:
      self.assertEqual(headers["source_topic"], self._topic.encode())
      self.assertEqual(int(headers["source_partition"]), number % _PARTITIONS)
      self.assertEqual(int(headers["source_offset"]), number // _PARTITIONS)

  def test_much_garbage_stops_training(self):
    garbage = set(range(5_000, 10_000, 20))
    self._send_with(garbage, 10_000)
    with self.assertRaisesRegex(
      TooManyBadMessages,
      r"^[\d.]+% .* are bad \(\d+\), more than max_bad_message_ratio",
    ):
      self._train(batch_size=50, save_steps=10)
    path = checkpoint.latest_checkpoint(self._model_dir)
    counts = message_counts.counts(path)
    self.assertLess(len(counts), 9_000)
    # Nothing is committed that is not in the checkpoint, or bad.
    self.assertContainsSubset(_passed(self._committed()) - garbage, counts)
    # It covers what was trained on when it was begun, but for batches that are small.
    passed = _passed(self._covered(path))
    self.assertContainsSubset(passed - garbage, counts)
    self.assertGreaterEqual(len(passed - garbage), 40 * checkpoint.step_of(path))
    # Who allows more goes on from there. Steps that were made while the checkpoint was
    # saved may be in it too, and are made again.
    self._train(batch_size=50, max_bad=0.2)
    good = set(range(10_000)) - garbage
    self.assertEqual(
      self._counts(), {n: counts.get(n, 0) + (n not in passed) for n in good}
    )
    self.assertEqual(sum(self._committed()), 10_000)

  def _send_with(self, garbage: set[int], count: int) -> None:
    self._send(
      count, lambda n: b"garbage %d" % n if n in garbage else message_counts.message(n)
    )

  def _dead_letters(self, topic: str, count: int) -> list[tuple[int, dict]]:
    consumer = confluent_kafka.Consumer({**self._client, "group.id": "letters"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    letters = consumer.consume(count, 20)
    consumer.close()
    return [(int(m.value().split()[1]), dict(m.headers())) for m in letters]

  def test_messages_that_input_fn_leaves_out_are_passed(self):
    self._send(3000)

    class Few(MessageCounts):
      def input_fn(self, mode):
        batches = super().input_fn(mode)
        return batches.filter(lambda x: x["number"].flat_values[0] < 10)

    p = Few.params()
    p.servers, p.topics, p.group = self._broker.bootstrap_servers, self._topic, "few"
    p.batch_size = 10
    Estimator(p.instantiate(), RunnerConfig(model_dir=self._model_dir)).train()
    self.assertContainsSubset(range(10), self._counts())
    offsets = {p.partition: p.offset for p in self._offsets("few")}
    self.assertEqual(offsets, dict.fromkeys(range(_PARTITIONS), 1000))

  def test_what_was_read_ahead_of_an_early_end_is_trained_on_later(self):
    self._send(3000)

    class Early(MessageCounts):
      def input_fn(self, mode):
        return super().input_fn(mode).prefetch(1000).map(_slowly).take(3)

    # The stream is over before its first batch is trained on.
    self._train(kind=Early, batch_size=10, timeout=500)
    self.assertLess(len(self._counts()), 1500)
    self._train(batch_size=10)
    self.assertEqual(self._counts(), dict.fromkeys(range(3000), 1))

  def test_that_input_fn_leaves_out_all_is_told(self):
    # All to one partition, so that they are read together.
    numbers = map(message_counts.message, range(30))
    self._topics.send(self._topic, ({"value": m, "partition": 0} for m in numbers))

    class Nothing(MessageCounts):
      def input_fn(self, mode):
        # A graph's tensors are other objects: False, whatever their values are.
        return super().input_fn(mode).filter(lambda x: tf.size(x["number"]) == 10)

    with self.assertLogs(level="WARNING") as logged:
      self._train(kind=Nothing, batch_size=10)
    self.assertRegex("\n".join(logged.output), "left out all .* last 30 of .*tf.equal")

  def test_a_topic_that_is_added_changes_nothing_of_the_others(self):
    self._send(300)
    self._train(batch_size=10, steps=10)
    first = checkpoint.latest_checkpoint(self._model_dir)
    self._train(batch_size=10)
    self.assertEqual(self._committed(), [100] * 3)
    checkpoint.remove(checkpoint.latest_checkpoint(self._model_dir))
    checkpoint.write_state(self._model_dir, [first.rpartition("/")[2]])
    self._topics.make(f"{self._topic}-more", 1)
    self._train(batch_size=10, topics=f"{self._topic},{self._topic}-more")
    self.assertEqual(self._counts(), dict.fromkeys(range(300), 1))

  def test_topics_of_a_pattern_are_trained_on_from_their_beginning(self):
    self._send(300)
    pattern = f"^{self._topic}.*"
    self._train(topics=pattern)
    # One came between two jobs, and another comes while a job trains.
    self._topics.make(f"{self._topic}-2", _PARTITIONS)
    self._send(300, topic=f"{self._topic}-2")

    def appear() -> None:
      self._topics.make(f"{self._topic}-3", _PARTITIONS)
      self._send(300, topic=f"{self._topic}-3")

    timer = threading.Timer(5, appear)
    timer.start()
    self._train(topics=f"{pattern},other", timeout=15_000)
    timer.join()
    self.assertEqual(self._counts(), dict.fromkeys(range(900), 1))
    self.assertEqual(self._committed(), [100] * 3)

  def test_a_topic_that_was_made_anew_is_refused(self):
    """Also where it has more messages by now than were trained on."""
    self._send(30)
    self._train()
    self._make_anew(self._topic)
    self._send(300)
    with self.assertRaisesRegex(StreamFailed, "made anew.*another group_id"):
      self._train()
    self._train(model_dir=self.create_tempdir().full_path, group="another")

  def test_a_topic_that_appeared_in_mid_job_and_was_made_anew_is_refused(self):
    late = f"{self._topic}-late"

    def appear() -> None:
      self._topics.make(late, _PARTITIONS)
      self._send(30, topic=late)

    timer = threading.Timer(3, appear)
    timer.start()
    self._train(topics=f"{self._topic},{late}", timeout=10_000)
    timer.join()
    self.assertEqual(self._counts(), dict.fromkeys(range(30), 1))
    self._make_anew(late)
    self._send(300, topic=late)
    with self.assertRaisesRegex(StreamFailed, f"{late} was deleted and made anew"):
      self._train(topics=f"{self._topic},{late}")

  def _make_anew(self, topic: str) -> None:
    """Brokers take a moment to delete a topic."""
    self._admin.delete_topics([topic])[topic].result(30)
    deadline = time.monotonic() + 30
    while True:
      try:
        self._topics.make(topic, _PARTITIONS)
        return
      except confluent_kafka.KafkaException:
        if time.monotonic() > deadline:
          raise
        time.sleep(0.5)

  def test_messages_that_were_deleted_are_passed_and_told(self):
    self._send(300)
    self._train(batch_size=10, steps=10)
    # Of one partition at least there are messages left.
    numbers = [set(range(p, 300, _PARTITIONS)) for p in range(_PARTITIONS)]
    left = [own - set(self._counts()) for own in numbers]
    partition = max(range(_PARTITIONS), key=lambda p: len(left[p]))
    deleted = [TopicPartition(self._topic, partition, 90)]
    for future in self._admin.delete_records(deleted).values():
      future.result(30)
    lost = {n for n in left[partition] if n // _PARTITIONS < 90}
    with self.assertLogs(level="ERROR") as logged:
      self._train(batch_size=10)
    self.assertEqual(self._counts(), {n: 1 for n in range(300) if n not in lost})
    self.assertIn(f": {len(lost)} messages, offsets ", "\n".join(logged.output))
    self.assertEqual(self._committed(), [100] * 3)

  def test_batches_of_a_fixed_size_are_refused(self):
    class Fixed(MessageCounts):
      def input_fn(self, mode):
        return super().input_fn(mode).unbatch().batch(10, drop_remainder=True)

    with self.assertRaisesRegex(ValueError, "drop_remainder=False"):
      self._train(kind=Fixed)

  def test_messages_must_stay_in_order(self):
    self._send(300)

    class Shuffled(MessageCounts):
      def input_fn(self, mode):
        return super().input_fn(mode).unbatch().shuffle(100).batch(10)

    with self.assertRaisesRegex(ValueError, "must not shuffle"):
      self._train(kind=Shuffled)

  def test_elements_must_say_which_messages_they_are(self):
    class Stripped(MessageCounts):
      def input_fn(self, mode):
        return super().input_fn(mode).map(lambda x: {"number": x["number"]})

    p = Stripped.params()
    p.servers, p.topics = self._broker.bootstrap_servers, self._topic
    estimator = Estimator(p.instantiate(), RunnerConfig(model_dir=self._model_dir))
    with self.assertRaisesRegex(ValueError, "they lack 'stream_position'"):
      estimator.train()


if __name__ == "__main__":
  absltest.main()
