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


def is_dense(feature):
  return isinstance(feature, tf.io.FixedLenFeature)


def attributes(features):
  """The op's attributes for features as tf.io.parse_example takes them."""
  ragged = {k: v for k, v in features.items() if not is_dense(v)}
  dense = {k: v for k, v in features.items() if is_dense(v)}
  return {
    "ragged_names": list(ragged),
    "ragged_types": [feature.dtype for feature in ragged.values()],
    "splits_types": [
      getattr(feature, "row_splits_dtype", tf.int64) for feature in ragged.values()
    ],
    "dense_names": list(dense),
    "dense_shapes": [feature.shape for feature in dense.values()],
  }


def defaults(features):
  dense = [feature for feature in features.values() if is_dense(feature)]
  values = [[] if f.default_value is None else f.default_value for f in dense]
  return [
    tf.constant(value, feature.dtype)
    for value, feature in zip(values, dense, strict=True)
  ]


def parse(messages, features, columns=()):
  return ops.monolith_parse_examples(
    messages, list(columns), defaults(features), **attributes(features)
  )


def flat_values(parsed):
  """The op's outputs in the order in which `flat_tensors` returns those of
  tf.io.parse_example."""
  ragged = zip(parsed.ragged_values, parsed.ragged_splits, strict=True)
  return [*(tensor for pair in ragged for tensor in pair), *parsed.dense_values]


def flat_tensors(tensors, features):
  flat = []
  for name, feature in features.items():
    if isinstance(feature, tf.io.VarLenFeature):
      lengths = tf.math.bincount(
        tf.cast(tensors[name].indices[:, 0], tf.int32),
        minlength=tf.cast(tensors[name].dense_shape[0], tf.int32),
      )
      splits = tf.concat([[0], tf.cumsum(lengths)], 0)
      flat += [tensors[name].values, tf.cast(splits, tf.int64)]
    elif isinstance(feature, tf.io.RaggedFeature):
      flat += [tensors[name].values, tensors[name].row_splits]
  return flat + [tensors[name] for name, f in features.items() if is_dense(f)]


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
  def test_parses_what_tensorflow_parses(self, features, seed):
    types = [None, tf.string, tf.float32, tf.int64]
    made = {
      name: (
        types.index(feature.dtype),
        int(np.prod(feature.shape)) if is_dense(feature) else -1,
      )
      for name, feature in features.items()
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
    got = parse(messages, features)
    reasons = dict(zip(got.bad.numpy().tolist(), got.reasons.numpy(), strict=True))
    different = [i for i, good in enumerate(wanted) if good == (i in reasons)]
    for i in different[:5]:
      print(wanted[i], reasons.get(i), messages[i])
    self.assertEmpty(different)
    self.assertBetween(wanted.mean(), 0.05, 0.9)
    self.assertNotIn(b"", reasons.values())
    self.assertBetween(len(set(reasons.values())), 5, 6 * len(features) + 2)
    # All good ones at once, as a batch is parsed.
    tensors = tf.io.parse_example(np.array(messages, object)[wanted], features)
    for value, tensor in zip(
      flat_values(got), flat_tensors(tensors, features), strict=True
    ):
      self.assertEqual(value.dtype, tensor.dtype)
      np.testing.assert_array_equal(value, tensor)  # Some floats are NaN.


def example_of(**features):
  """A serialized example; values are ints, floats or bytes."""
  example = tf.train.Example()
  for name, values in features.items():
    feature = example.features.feature[name]
    lists = {int: feature.int64_list, float: feature.float_list}
    lists.get(type(values[0]), feature.bytes_list).value.extend(values)
  return example.SerializeToString()


class ParseExamplesTest(tf.test.TestCase):
  def test_tells_which_and_why(self):
    good = [
      example_of(label=[4.5], mov=[7, -9], uid=[1]),
      example_of(label=[0.5], uid=[2, 3]),
    ]
    other = example_of(label=[4.5], mov=[b"Heat"])
    messages = [b"garbage", good[0], b"", other, good[1]]
    got = parse(messages, RATING, columns=[[5, 6, 7, 8, 9], range(5)])
    self.assertAllEqual(got.ragged_values[0], [7, -9])
    self.assertAllEqual(got.ragged_splits[0], [0, 2, 2])
    self.assertAllEqual(got.ragged_values[1], [1, 2, 3])
    self.assertAllEqual(got.ragged_splits[1], [0, 1, 3])
    self.assertAllEqual(got.dense_values[0], [[4.5], [0.5]])
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
    got = parse([b""] * 3, features, columns=[[5, 6, 7]])
    self.assertAllEqual(got.ragged_splits, [[0] * 4])
    self.assertAllEqual(got.good_columns, [[5, 6, 7]])
    self.assertEmpty(got.bad)
    self.assertEmpty(got.reasons)

  def test_an_empty_batch_is_good(self):
    got = parse(tf.zeros([0], tf.string), RATING)
    self.assertAllEqual(got.ragged_splits, [[0]] * 2)
    self.assertEqual(got.dense_values[0].shape, [0, 1])
    self.assertEmpty(got.bad)
    self.assertEqual(got.num_seen, 0)

  def test_a_large_batch_is_parsed_by_several_threads(self):
    features = {
      "mov": tf.io.RaggedFeature(tf.int64),
      "title": tf.io.FixedLenFeature([], tf.string, "none"),
    }
    messages = [
      example_of(mov=[i] * (i % 3 + 1), title=[b"of %d" % i] if i % 2 else [b"x" * 99])
      for i in range(9_999)
    ]
    for i in range(0, len(messages), 10):
      messages[i] = b"garbage"
    got = parse(messages, features)
    self.assertAllEqual(got.bad, range(0, 9_999, 10))
    good = [i for i in range(9_999) if i % 10]
    self.assertAllEqual(
      tf.RaggedTensor.from_row_splits(got.ragged_values[0], got.ragged_splits[0]),
      tf.ragged.constant([[i] * (i % 3 + 1) for i in good]),
    )
    titles = [b"of %d" % i if i % 2 else b"x" * 99 for i in good]
    self.assertAllEqual(got.dense_values[0], titles)

  def test_defaults_are_those_of_the_call(self):
    features = {
      "grade": tf.io.FixedLenFeature([2], tf.float32),
      "title": tf.io.FixedLenFeature([], tf.string),
    }
    got = ops.monolith_parse_examples(
      [b"", example_of(title=[b"Heat"])],
      [],
      [[1.5, 2.5], "a title longer than what a string holds inline"],
      **attributes(features),
    )
    self.assertAllEqual(got.dense_values[0], [[1.5, 2.5]] * 2)
    self.assertAllEqual(
      got.dense_values[1],
      [b"a title longer than what a string holds inline", b"Heat"],
    )

  def test_good_ones_are_counted_from_time_to_time(self):
    features = {"mov": tf.io.RaggedFeature(tf.int64)}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      batch = tf.compat.v1.placeholder(tf.string, [None])
      rarely, often = (
        loader.ops().monolith_parse_examples(
          batch, [], [], **attributes(features), report_every_ms=ms, tally=9
        )
        for ms in (600_000, 1)
      )

      def seen(op, messages):
        return session.run(op.num_seen, {batch: messages})

      self.assertEqual(seen(rarely, [b""]), 1)  # The first at once.
      self.assertEqual(seen(rarely, [b""] * 5), 0)
      self.assertEqual(seen(rarely, [b""] * 6), 0)
      self.assertEqual(seen(rarely, [b"", b"garbage"]), 13)
      self.assertEqual(seen(often, [b""]), 1)
      self.assertEqual(seen(rarely, [b""] * 2), 0)
      time.sleep(0.1)
      self.assertEqual(seen(often, [b""]), 3)  # The time for it has come.

  def test_a_tally_outlives_its_ops(self):
    features = {"mov": tf.io.RaggedFeature(tf.int64)}

    def seen(tally, *batches):
      with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        batch = tf.compat.v1.placeholder(tf.string, [None])
        got = loader.ops().monolith_parse_examples(
          batch, [], [], **attributes(features), report_every_ms=600_000, tally=tally
        )
        return [session.run(got.num_seen, {batch: [b""] * n}) for n in batches]

    self.assertEqual(seen(7, 1, 5, 6), [1, 0, 0])
    self.assertEqual(seen(8, 2), [2])
    self.assertEqual(seen(7, 3, 4), [14, 0])
    self.assertEqual(seen(7, 1), [5])
    # Without a number it ends with the op.
    self.assertEqual(seen(0, 1, 2), [1, 0])
    self.assertEqual(seen(0, 1), [1])

  def test_arguments_are_checked(self):
    with self.assertRaisesRegex(InvalidArgument, "serialized must be a vector"):
      parse(b"", RATING)
    with self.assertRaisesRegex(
      InvalidArgument, r"columns\[1\] has the wrong shape: got \[1\], wanted \[2\]"
    ):
      parse([b"", b""], RATING, columns=[[1, 2], [3]])
    one = attributes(
      {
        "a": tf.io.RaggedFeature(tf.int64),
        "b": tf.io.FixedLenFeature([2], tf.int64),
      }
    )

    def parse_one(default=(), **changes):
      default = tf.constant(default, tf.int64)
      ops.monolith_parse_examples([b""], [], [default], **{**one, **changes})

    with self.assertRaisesRegex(
      InvalidArgument, r"defaults\[0\] has the wrong shape: got \[3\], wanted \[2\]"
    ):
      parse_one([1, 2, 3])
    for name, values in (
      ("ragged_types", [tf.int64] * 2),
      ("splits_types", [tf.int32] * 2),
    ):
      with self.assertRaisesRegex(InvalidArgument, f"{name} has the wrong size: got 2"):
        parse_one(**{name: values})
    for name in ("dense_names", "dense_shapes"):
      with self.assertRaisesRegex(InvalidArgument, "has the wrong size: got"):
        parse_one(**{name: one[name] * 2})
    with self.assertRaisesRegex(InvalidArgument, r"dense_shapes\[0\] must be known"):
      parse_one(dense_shapes=[[None]])
    with self.assertRaisesRegex(InvalidArgument, "'b' is named twice"):
      parse_one(ragged_names=["b"])

  def test_shapes_are_known_in_the_graph(self):
    features = {**RATING, "grade": tf.io.FixedLenFeature([2, 3], tf.float32)}
    with tf.Graph().as_default():
      batch = tf.compat.v1.placeholder(tf.string, [7])

      def parse_all(messages, column):
        return loader.ops().monolith_parse_examples(
          messages, [column], defaults(features), **attributes(features)
        )

      got = parse_all(batch, tf.range(7, dtype=tf.int64))
      vectors = (*got.ragged_values, *got.ragged_splits, *got.good_columns)
      for tensor in (*vectors, got.bad, got.reasons):
        self.assertEqual(tensor.shape.as_list(), [None])
      self.assertEqual(
        [t.shape.as_list() for t in got.dense_values], [[None, 1], [None, 2, 3]]
      )
      self.assertEqual(got.num_seen.shape, [])
      with self.assertRaisesRegex(ValueError, "must be rank 1"):
        parse_all(batch[0], tf.range(7, dtype=tf.int64))
      with self.assertRaisesRegex(ValueError, "Dimension 0 in both shapes must be"):
        parse_all(batch, tf.range(6, dtype=tf.int64))


if __name__ == "__main__":
  tf.test.main()
