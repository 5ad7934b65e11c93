import collections
import threading
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.data.bad_messages import BadMessages, TooManyBadMessages
from monolith.native_training.data.example_parsing import (
  decode_example,
  default_bad_messages,
  serialize_one,
)
from monolith.native_training.data.kafka.kafka_messages import KafkaMessages

FEATURES = {
  "mov": tf.io.RaggedFeature(tf.int64),
  "uid": tf.io.VarLenFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}
GARBAGE = [
  b"garbage",
  b"",
  b"\xff" * 30,
  serialize_one({"mov": [1], "uid": [2]}),
  serialize_one({"mov": [1.5], "label": 1.0}),
  serialize_one({"mov": [1], "label": [1.0, 2.0]}),
  serialize_one({"mov": [1], "label": 1.0})[:-1],
  b"\n\x17\n\x15\n\x05label\x12\x0c\x12\x0a" + b"\x0d\0\0\0\0" * 2,
]


def rating(i):
  return serialize_one({"mov": [i] * (i % 3), "uid": [i, -i], "label": i / 2})


def from_kafka(messages, start=0):
  """Messages of one partition, one a millisecond."""
  numbers = np.arange(start, start + len(messages))
  return KafkaMessages(
    message=np.array(messages, object),
    topic=np.full(len(messages), b"clicks", object),
    partition=np.full(len(messages), 4, np.int32),
    offset=numbers + 100,
    timestamp=numbers + 1_700_000_000_000,
    position=numbers * 10,
  )


def mixed(count, share, seed=1):
  """Ratings, a share of which is garbage; and which are good."""
  random = np.random.default_rng(seed)
  good = random.random(count) >= share
  messages = [
    rating(i) if good[i] else GARBAGE[random.integers(len(GARBAGE))]
    for i in range(count)
  ]
  return messages, np.flatnonzero(good)


def run_in_session(dataset):
  """All elements of a dataset of this graph, as NumPy values."""
  element = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
  elements = []
  with tf.compat.v1.Session() as session:
    while True:
      try:
        elements.append(session.run(element))
      except tf.errors.OutOfRangeError:
        return elements


def labels_of(elements):
  return np.concatenate([element["label"].ravel() for element in elements])


class EagerTest(tf.test.TestCase, parameterized.TestCase):
  def test_strings(self):
    bad = BadMessages(1)
    parsed = decode_example(tf.constant([rating(2), b"x", rating(3)]), FEATURES, bad)
    self.assertEqual(set(parsed), {"mov", "uid", "label"})
    self.assertEqual(parsed["mov"].to_list(), [[2, 2], []])
    self.assertAllEqual(tf.sparse.to_dense(parsed["uid"]), [[2, -2], [3, -3]])
    self.assertAllEqual(parsed["label"], [[1], [1.5]])
    self.assertEqual((bad.seen, bad.counts()), (3, {"not a tf.train.Example": 1}))

  def test_kafka_messages_keep_position_and_time(self):
    bad = BadMessages(1)
    messages = from_kafka([rating(0), b"x", rating(2), b"", rating(4)])
    parsed = decode_example(messages, FEATURES, bad)
    self.assertAllEqual(parsed["stream_position"], [0, 20, 40])
    self.assertAllEqual(
      parsed["event_time_ms"], np.array([0, 2, 4]) + 1_700_000_000_000
    )
    self.assertAllEqual(parsed["label"], [[0], [1], [2]])
    self.assertEqual(parsed["stream_position"].dtype, tf.int64)

  @parameterized.parameters(0, 1, 8)
  def test_a_batch_may_become_empty(self, count):
    messages = from_kafka((GARBAGE * 2)[:count])
    parsed = decode_example(messages, FEATURES, BadMessages(1))
    self.assertEqual(parsed["mov"].to_list(), [])
    self.assertAllEqual(parsed["uid"].dense_shape[0], 0)
    self.assertEqual(parsed["label"].shape, [0, 1])
    self.assertEqual(parsed["stream_position"].shape, [0])

  def test_every_kind_of_garbage_is_skipped_and_told_apart(self):
    bad = BadMessages(1)
    parsed = decode_example(tf.constant([*GARBAGE, rating(1)]), FEATURES, bad)
    self.assertAllEqual(parsed["label"], [[0.5]])
    self.assertEqual(
      bad.counts(),
      {
        "not a tf.train.Example": 3,
        "feature 'label' is missing": 2,
        "feature 'mov' is float, wanted int64": 1,
        "feature 'label' has more or fewer values than 1": 2,
      },
    )

  def test_too_many_raise(self):
    bad = BadMessages(0.01)
    with self.assertRaisesRegex(
      TooManyBadMessages, "100.00% of .* topic 'clicks', partition 4, offset 149: not a"
    ):
      decode_example(from_kafka([b"x"] * 50), FEATURES, bad)

  def test_calls_alike_do_not_share_counts(self):
    counts = [BadMessages(), BadMessages()]
    for bad in counts:
      decode_example(tf.constant([rating(1)] * 3), FEATURES, bad)
    self.assertEqual([bad.seen for bad in counts], [3, 3])

  def test_the_default_is_shared(self):
    before = default_bad_messages().seen
    decode_example(tf.constant([rating(1)]), FEATURES)
    self.assertEqual(default_bad_messages().seen, before + 1)

  def test_other_keys_types_and_defaults(self):
    features = {
      "ids": tf.io.RaggedFeature(tf.int64, value_key="mov", row_splits_dtype=tf.int64),
      "again": tf.io.RaggedFeature(
        tf.int64, value_key="mov", row_splits_dtype=tf.int64
      ),
      "title": tf.io.FixedLenFeature([], tf.string, "none"),
      "pair": tf.io.FixedLenFeature([2, 1], tf.int64, [[1], [2]]),
    }
    messages = [serialize_one({"mov": [5, 6]}), serialize_one({"title": "Heat"})]
    parsed = decode_example(tf.constant(messages), features, BadMessages(0))
    self.assertEqual(parsed["ids"].to_list(), [[5, 6], []])
    self.assertEqual(parsed["again"].to_list(), [[5, 6], []])
    self.assertAllEqual(parsed["title"], [b"none", b"Heat"])
    self.assertAllEqual(parsed["pair"], [[[1], [2]]] * 2)


class DatasetTest(tf.test.TestCase, parameterized.TestCase):
  """The same in a session over a graph, and eagerly over a dataset."""

  def decoded(self, messages, bad, batch=64, eager=False, **options):
    def run():
      dataset = tf.data.Dataset.from_tensor_slices(from_kafka(messages)).batch(batch)
      return dataset.map(lambda x: decode_example(x, FEATURES, bad), **options)

    if eager:
      return [
        tf.nest.map_structure(lambda t: t.numpy(), element, expand_composites=False)
        for element in run().map(lambda element: {"label": element["label"]})
      ]
    with tf.Graph().as_default():
      return run_in_session(run())

  @parameterized.product(eager=[False, True], share=[0.0, 0.01, 0.05, 1.0])
  def test_exactly_the_good_ones_come_through(self, eager, share):
    messages, good = mixed(3_000, share)
    bad = BadMessages(1)
    elements = self.decoded(messages, bad, eager=eager)
    self.assertAllEqual(labels_of(elements), (good / 2).astype(np.float32))
    self.assertEqual(bad.bad, 3_000 - len(good))

  def test_ragged_values_in_a_session(self):
    bad = BadMessages(1)
    (first, second) = self.decoded([rating(1), b"x", rating(2)], bad, batch=2)
    self.assertAllEqual(first["mov"].values, [1])
    self.assertAllEqual(second["mov"].row_splits, [0, 2])
    self.assertAllEqual(second["uid"].values, [2, -2])
    self.assertAllEqual(second["stream_position"], [20])
    self.assertAllEqual(second["event_time_ms"], [1_700_000_000_002])

  @parameterized.parameters(False, True)
  def test_one_in_a_hundred_goes_on_and_one_in_twenty_stops(self, eager):
    messages, good = mixed(20_000, 0.01)
    self.assertLen(
      labels_of(self.decoded(messages, BadMessages(), eager=eager)), len(good)
    )
    messages, _ = mixed(20_000, 0.05)
    bad = BadMessages()
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError,
      r"of the last .* more than max_bad_message_ratio, 1.00%.* topic 'clicks', "
      r"partition 4, offset \d+: .*BadMessages\(max_bad_message_ratio=...\)",
    ) as caught:
      self.decoded(messages, bad, eager=eager)
    self.assertNotIn("Traceback", str(caught.exception))
    self.assertLess(bad.seen, 2_000)

  def test_a_message_that_is_missing_is_seen_as_a_gap_of_positions(self):
    messages, good = mixed(1_000, 0.1)
    elements = self.decoded(messages, BadMessages(1), batch=7)
    positions = np.concatenate([element["stream_position"] for element in elements])
    self.assertAllEqual(positions, good * 10)

  def test_parallel_calls_count_everything_once(self):
    messages, good = mixed(5_000, 0.2)
    bad = BadMessages(1)
    elements = self.decoded(messages, bad, batch=16, num_parallel_calls=4)
    self.assertLen(labels_of(elements), len(good))
    self.assertEqual(bad.bad, 5_000 - len(good))
    # Good ones at the very end are not yet told.
    self.assertBetween(bad.seen, 4_900, 5_000)

  def test_a_dataset_that_is_read_again_counts_all(self):
    # As a job reads a stream that has nothing for a second from time to time.
    messages = [b"garbage", *(rating(i % 5) for i in range(639))]
    bad = BadMessages(0.01)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      dataset = tf.data.Dataset.from_tensor_slices(from_kafka(messages)).batch(64)
      decoded = dataset.map(lambda x: decode_example(x, FEATURES, bad))
      iterator = tf.compat.v1.data.make_initializable_iterator(decoded)
      label = iterator.get_next()["label"]
      for round_ in range(30):
        session.run(iterator.initializer)
        for _ in range(10):
          session.run(label)
        # All but those behind the last bad one.
        self.assertBetween(bad.seen, round_ * 640 + 64, (round_ + 1) * 640)
        self.assertEqual(bad.bad, round_ + 1)

  def test_eager_calls_count_at_once_beside_datasets(self):
    bad = BadMessages()
    for i in range(3):
      self.decoded([rating(1)] * 10, bad, batch=10, eager=i == 1)
      decode_example(tf.constant([rating(1)] * 10), FEATURES, bad)
      self.assertEqual(bad.seen, 20 * (i + 1))

  def test_without_bad_ones_python_runs_at_most_once_a_second(self):
    calls = []

    class Counting(BadMessages):
      def report(self, seen, bad=()):
        calls.append(seen)
        super().report(seen, bad)

    self.decoded([rating(i % 5) for i in range(2_000)], Counting(), batch=1)
    self.assertBetween(len(calls), 1, 30)

  def test_dead_letters_get_place_bytes_and_reason(self):
    letters = []

    class Letters:
      def send(self, bad):
        letters.extend(bad)

    self.decoded([rating(1), b"\xffx", rating(2)], BadMessages(1, Letters()))
    (letter,) = letters
    self.assertEqual(letter, (b"\xffx", "not a tf.train.Example", "clicks", 4, 101))

  def test_an_error_of_the_dead_letters_reaches_the_loop(self):
    for error, text in (
      (ValueError("no such setting"), "no such setting"),
      (TimeoutError(), r"TimeoutError\(\)"),
    ):
      letters = mock.Mock()
      letters.send.side_effect = error
      with self.assertRaisesRegex(tf.errors.InvalidArgumentError, text):
        self.decoded([b"x"], BadMessages(1, letters))

  def test_strings_in_a_dataset_name_their_place_in_the_batch(self):
    bad = BadMessages(0)
    dataset = tf.data.Dataset.from_tensors(tf.constant([rating(1), b"x"]))
    dataset = dataset.map(lambda x: decode_example(x, FEATURES, bad))
    with self.assertRaisesRegex(
      tf.errors.InvalidArgumentError, "message 1 of its batch: not a tf.train.Example"
    ):
      next(iter(dataset))

  def test_a_shape_may_be_a_number(self):
    features = {"pair": tf.io.FixedLenFeature(2, tf.float32, [1.0, 2.0])}
    dataset = tf.data.Dataset.from_tensors(tf.constant([b""]))
    dataset = dataset.map(lambda x: decode_example(x, features))
    (element,) = dataset.as_numpy_iterator()
    self.assertAllEqual(element["pair"], [[1, 2]])

  def test_specs_of_elements(self):
    dataset = tf.data.Dataset.from_tensors(from_kafka([rating(1)]))
    spec = dataset.map(lambda x: decode_example(x, FEATURES)).element_spec
    self.assertEqual(spec["mov"].dtype, tf.int64)
    self.assertIsInstance(spec["mov"], tf.RaggedTensorSpec)
    self.assertEqual(spec["label"].shape.as_list(), [None, 1])
    self.assertEqual(spec["stream_position"].shape.as_list(), [None])

  def test_a_function_may_be_called_from_several_threads(self):
    bad = BadMessages(1)
    decode = tf.function(lambda x: decode_example(x, FEATURES, bad)["label"])
    batch = tf.constant([rating(1), b"x"])
    sizes = collections.Counter()

    def work():
      for _ in range(50):
        sizes[int(tf.shape(decode(batch))[0])] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    self.assertEqual(set(sizes), {1})
    self.assertEqual((bad.seen, bad.bad), (400, 200))


class ArgumentsTest(parameterized.TestCase):
  @parameterized.parameters(
    ({}, "features must be a dict"),
    (["mov"], "features must be a dict"),
    ({7: tf.io.VarLenFeature(tf.int64)}, "names of features must be strings, got 7"),
    ({"mov": tf.int64}, "'mov' must be a tf.io.RaggedFeature, .* got tf.int64"),
    (
      {"a": tf.io.FixedLenSequenceFeature([], tf.int64, True)},
      "'a' must be a tf.io.RaggedFeature",
    ),
    ({"a": tf.io.VarLenFeature(tf.int32)}, "'a' must be of tf.int64, .* got int32"),
    ({"a": tf.io.FixedLenFeature([None], tf.int64)}, "'a' must have a shape without"),
    (
      {
        "a": tf.io.RaggedFeature(
          tf.int64, partitions=[tf.io.RaggedFeature.RowLengths("l")]
        )
      },
      "'a' must be a tf.io.RaggedFeature without partitions",
    ),
    (
      {"stream_position": tf.io.FixedLenFeature([], tf.int64)},
      "no feature can be called 'stream_position'",
    ),
    (
      {"event_time_ms": tf.io.FixedLenFeature([], tf.int64)},
      "no feature can be called 'event_time_ms'",
    ),
    (
      {
        "a": tf.io.FixedLenFeature([], tf.int64),
        "b": tf.io.RaggedFeature(tf.int64, value_key="a"),
      },
      "feature 'b' reads 'a', which another feature wants differently",
    ),
  )
  def test_features(self, features, message):
    with self.assertRaisesRegex(ValueError, message):
      decode_example(tf.constant([b""]), features)

  def test_messages(self):
    with self.assertRaisesRegex(
      ValueError, "must be strings or KafkaMessages, got int32"
    ):
      decode_example(tf.constant([1]), FEATURES)
    with self.assertRaisesRegex(
      ValueError, r"a batch of shape \[n\].*use dataset.batch"
    ):
      decode_example(tf.constant("x"), FEATURES)

  def test_bad_messages(self):
    with self.assertRaisesRegex(ValueError, "must be a BadMessages, got 0.01"):
      decode_example(tf.constant([b""]), FEATURES, 0.01)


if __name__ == "__main__":
  absltest.main()
