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


def check(messages, features, columns=()):
  return ops.monolith_check_examples(messages, list(columns), **attributes(features))


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
    reasons = dict(zip(got.bad.numpy().tolist(), got.reasons.numpy(), strict=True))
    different = [i for i, good in enumerate(wanted) if good == (i in reasons)]
    for i in different[:5]:
      print(wanted[i], reasons.get(i), messages[i])
    self.assertEmpty(different)
    self.assertBetween(wanted.mean(), 0.05, 0.9)
    self.assertNotIn(b"", reasons.values())
    self.assertBetween(len(set(reasons.values())), 5, 6 * len(features) + 2)
    self.assertAllEqual(got.good, np.array(messages, object)[wanted])
    # All good ones at once, as a batch is parsed.
    tf.io.parse_example(got.good, features)


class CheckExamplesTest(tf.test.TestCase):
  def test_tells_which_and_why(self):
    example = tf.train.Example()
    example.features.feature["label"].float_list.value.append(4.5)
    good = example.SerializeToString()
    example.features.feature["mov"].bytes_list.value.append(b"Heat")
    messages = [b"garbage", good, b"", example.SerializeToString(), good]
    got = check(messages, RATING, columns=[[5, 6, 7, 8, 9], range(5)])
    self.assertAllEqual(got.good, [good, good])
    self.assertAllEqual(got.good_columns, [[6, 9], [1, 4]])
    self.assertAllEqual(got.bad, [0, 2, 3])
    self.assertAllEqual(
      got.reasons,
      [
        b"not a tf.train.Example",
        b"feature 'label' is missing",
        b"feature 'mov' is bytes, wanted int64",
      ],
    )
    self.assertEqual(got.num_seen, 5)

  def test_where_all_are_good_all_stay(self):
    features = {"mov": tf.io.RaggedFeature(tf.int64)}
    got = check([b""] * 3, features, columns=[[5, 6, 7]])
    self.assertAllEqual(got.good, [b""] * 3)
    self.assertAllEqual(got.good_columns, [[5, 6, 7]])
    self.assertEmpty(got.bad)
    self.assertEmpty(got.reasons)

  def test_an_empty_batch_is_good(self):
    got = check(tf.zeros([0], tf.string), RATING)
    self.assertEmpty(got.good)
    self.assertEmpty(got.bad)
    self.assertEqual(got.num_seen, 0)

  def test_a_large_batch_is_checked_by_several_threads(self):
    messages = np.full(10_001, b"garbage", object)
    messages[::3] = b""
    got = check(messages, FEW)
    self.assertAllEqual(got.bad, range(10_001))
    self.assertEqual(set(got.reasons.numpy()[::3]), {b"feature 'b' is missing"})
    self.assertEqual(set(got.reasons.numpy()[1::3]), {b"not a tf.train.Example"})

  def test_good_ones_are_counted_from_time_to_time(self):
    features = {"mov": tf.io.RaggedFeature(tf.int64)}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      batch = tf.compat.v1.placeholder(tf.string, [None])
      got = loader.ops().monolith_check_examples(
        batch, [], **attributes(features), report_every_ms=200
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
    with self.assertRaisesRegex(
      InvalidArgument, r"columns\[1\] has the wrong shape: got \[1\], wanted \[2\]"
    ):
      check([b"", b""], RATING, columns=[[1, 2], [3]])
    one = {"names": ["a"], "types": [tf.int64], "lengths": [1], "required": [True]}
    for name, values in (("types", [tf.int64] * 2), ("lengths", [1, 1])):
      with self.assertRaisesRegex(InvalidArgument, f"{name} has the wrong size: got 2"):
        ops.monolith_check_examples([b""], [], **{**one, name: values})
    with self.assertRaisesRegex(InvalidArgument, "required has the wrong size"):
      ops.monolith_check_examples([b""], [], **{**one, "required": [True, False]})
    with self.assertRaisesRegex(InvalidArgument, "'a' must be 0 or more.*got -3"):
      ops.monolith_check_examples([b""], [], **{**one, "lengths": [-3]})
    with self.assertRaisesRegex(InvalidArgument, "'a' is named twice"):
      ops.monolith_check_examples([b""], [], **{k: v * 2 for k, v in one.items()})

  def test_shapes_are_known_in_the_graph(self):
    with tf.Graph().as_default():
      batch = tf.compat.v1.placeholder(tf.string, [7])
      checked = loader.ops().monolith_check_examples
      got = checked(batch, [tf.range(7, dtype=tf.int64)], **attributes(RATING))
      tensors = (got.good, *got.good_columns, got.bad, got.reasons)
      self.assertEqual([t.shape.as_list() for t in tensors], [[None]] * 4)
      self.assertEqual(got.num_seen.shape, [])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        checked(batch[0], [], **attributes(RATING))
      with self.assertRaisesRegex(ValueError, "Dimension 0 in both shapes must be"):
        checked(batch, [tf.range(6, dtype=tf.int64)], **attributes(RATING))


if __name__ == "__main__":
  tf.test.main()
