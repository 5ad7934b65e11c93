import time

import numpy as np
import tensorflow as tf
from absl.testing import parameterized

from monolith.native_training.runtime.ops import core_errors, loader
from monolith.native_training.runtime.ops.example_mutations import (
  ExampleMaker,
  ends_tensorflow,
)

ops = core_errors.PlainOps(loader.ops())

InvalidArgument = tf.errors.InvalidArgumentError

RATING = {
  "mov": tf.io.RaggedFeature(tf.int64),
  "uid": tf.io.VarLenFeature(tf.int64),
  "label": tf.io.FixedLenFeature([1], tf.float32),
}

KINDS = {
  "id": tf.io.FixedLenFeature([], tf.string),
  "fix": tf.io.FixedLenFeature([2], tf.string, ["", ""]),
  "cat": tf.io.RaggedFeature(tf.string),
  "grade": tf.io.FixedLenFeature([2, 1], tf.float32, [[0.0], [1.0]]),
  "mean": tf.io.RaggedFeature(tf.float32),
  "jump": tf.io.VarLenFeature(tf.float32),
  "b": tf.io.FixedLenFeature([1], tf.int64, [7]),
  "hits": tf.io.FixedLenFeature([], tf.int64, 0),
  "e": tf.io.FixedLenFeature([0], tf.int64, []),
}

FLOATS = {
  "mean": tf.io.RaggedFeature(tf.float32),
  "jump": tf.io.VarLenFeature(tf.float32),
}

FEW = {
  "b": tf.io.FixedLenFeature([1], tf.int64),
  "c": tf.io.FixedLenFeature([], tf.string),
}


def attributes(features):
  """The op's attributes for features as tf.io.parse_example takes them."""
  lengths, required = [], []
  for feature in features.values():
    fixed = isinstance(feature, tf.io.FixedLenFeature)
    lengths.append(int(np.prod(feature.shape)) if fixed else -1)
    required.append(fixed and (feature.default_value is None or lengths[-1] == 0))
  return {
    "names": list(features),
    "types": [feature.dtype for feature in features.values()],
    "lengths": lengths,
    "required": required,
  }


def check(messages, features, **options):
  return ops.monolith_check_examples(messages, **attributes(features), **options)


def parsed_by_tensorflow(messages, features):
  """Which of the messages tf.io.parse_example takes, each by itself."""

  def parse(i, message):
    return i, tf.io.parse_example(message[tf.newaxis], features)

  dataset = tf.data.Dataset.from_tensor_slices((np.arange(len(messages)), messages))
  good = np.zeros(len(messages), bool)
  # What parsing returns leaves the function, or TensorFlow would not parse.
  dataset = dataset.map(parse).ignore_errors().map(lambda i, tensors: i)
  for i in dataset.batch(1000).as_numpy_iterator():
    good[i] = True
  return good


class RandomMessagesTest(tf.test.TestCase, parameterized.TestCase):
  @parameterized.named_parameters(
    ("rating", RATING, 1),
    ("all_kinds", KINDS, 2),
    ("required", FEW, 3),
    ("floats", FLOATS, 4),
  )
  def test_good_is_what_tensorflow_parses(self, features, seed):
    types = [None, tf.string, tf.float32, tf.int64]
    wanted = attributes(features)
    made = {
      name: (types.index(kind), length)
      for name, kind, length in zip(
        wanted["names"], wanted["types"], wanted["lengths"], strict=True
      )
    }
    maker = ExampleMaker({**made, "other": (1, -1)}, seed)
    fixed_floats = any(
      isinstance(feature, tf.io.FixedLenFeature) and feature.dtype == tf.float32
      for feature in features.values()
    )
    messages = []
    while len(messages) < 60_000:
      message = maker.message()
      if not ends_tensorflow(message, fixed_floats):
        messages.append(message)
    wanted = parsed_by_tensorflow(messages, features)
    got = check(messages, features)
    different = np.flatnonzero(got.is_good.numpy() != wanted)
    for i in different[:5]:
      print(wanted[i], got.reasons[i].numpy(), messages[i])
    self.assertEmpty(different)
    self.assertBetween(wanted.mean(), 0.05, 0.9)
    # Good ones have no reason, and what is bad has few.
    reasons = set(got.reasons.numpy())
    self.assertIn(b"", reasons)
    self.assertBetween(len(reasons), 5, 6 * len(features) + 2)
    # All good ones at once, as a batch is parsed.
    tf.io.parse_example(tf.boolean_mask(messages, got.is_good), features)


class CheckExamplesTest(tf.test.TestCase):
  def test_tells_which_and_why(self):
    example = tf.train.Example()
    example.features.feature["label"].float_list.value.append(4.5)
    good = example.SerializeToString()
    example.features.feature["mov"].bytes_list.value.append(b"Heat")
    got = check([good, b"garbage", b"", example.SerializeToString()], RATING)
    self.assertAllEqual(got.is_good, [True, False, False, False])
    self.assertAllEqual(
      got.reasons,
      [
        b"",
        b"not a tf.train.Example",
        b"feature 'label' is missing",
        b"feature 'mov' is bytes, wanted int64",
      ],
    )
    self.assertFalse(got.all_good)
    self.assertEqual(got.num_seen, 4)
    self.assertTrue(check([good] * 3, RATING).all_good)

  def test_an_empty_batch_is_good(self):
    got = check(tf.zeros([0], tf.string), RATING)
    self.assertTrue(got.all_good)
    self.assertEqual(got.num_seen, 0)

  def test_a_large_batch_is_checked_by_several_threads(self):
    messages = np.full(10_001, b"garbage", object)
    messages[::3] = b""
    got = check(messages, FEW)
    self.assertEqual(set(got.reasons.numpy()[::3]), {b"feature 'b' is missing"})
    self.assertEqual(set(got.reasons.numpy()[1::3]), {b"not a tf.train.Example"})

  def test_good_ones_are_counted_from_time_to_time(self):
    features = {"mov": tf.io.RaggedFeature(tf.int64)}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      batch = tf.compat.v1.placeholder(tf.string, [None])
      got = loader.ops().monolith_check_examples(
        batch, **attributes(features), report_every_ms=200
      )

      def seen(messages):
        return session.run(got.num_seen, {batch: messages})

      self.assertEqual(seen([b""]), 1)  # The first at once.
      self.assertEqual(seen([b""] * 5), 0)
      self.assertEqual(seen([b""] * 6), 0)
      self.assertEqual(seen([b"", b"garbage"]), 13)
      time.sleep(0.3)
      self.assertEqual(seen([b""]), 1)

  def test_arguments_are_checked(self):
    with self.assertRaisesRegex(InvalidArgument, "serialized must be a vector"):
      check(b"", RATING)
    one = {"names": ["a"], "types": [tf.int64], "lengths": [1], "required": [True]}
    for name, values in (("types", [tf.int64] * 2), ("lengths", [1, 1])):
      with self.assertRaisesRegex(InvalidArgument, f"{name} has the wrong size: got 2"):
        ops.monolith_check_examples([b""], **{**one, name: values})
    with self.assertRaisesRegex(InvalidArgument, "required has the wrong size"):
      ops.monolith_check_examples([b""], **{**one, "required": [True, False]})
    with self.assertRaisesRegex(InvalidArgument, "'a' must be 0 or more.*got -3"):
      ops.monolith_check_examples([b""], **{**one, "lengths": [-3]})
    with self.assertRaisesRegex(InvalidArgument, "'a' is named twice"):
      ops.monolith_check_examples([b""], **{k: v * 2 for k, v in one.items()})

  def test_shapes_are_known_in_the_graph(self):
    with tf.Graph().as_default():
      batch = tf.compat.v1.placeholder(tf.string, [7])
      got = loader.ops().monolith_check_examples(batch, **attributes(RATING))
      self.assertEqual([t.shape.as_list() for t in got], [[7], [7], [], []])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        loader.ops().monolith_check_examples(batch[0], **attributes(RATING))


if __name__ == "__main__":
  tf.test.main()
