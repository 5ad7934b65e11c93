import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training.data.example_values import serialize_one


def kinds_and_values(message):
  """The kind of list and the values of each feature."""
  features = tf.train.Example.FromString(message).features.feature
  result = {}
  for name, feature in features.items():
    kind = feature.WhichOneof("kind")
    result[name] = (kind and kind[:-5], kind and list(getattr(feature, kind).value))
  return result


def one(value):
  return kinds_and_values(serialize_one({"x": value}))["x"]


class SerializeOneTest(parameterized.TestCase):
  @parameterized.parameters(
    (7, "int64", [7]),
    (-(2**63), "int64", [-(2**63)]),
    ([1, 2**63 - 1], "int64", [1, 2**63 - 1]),
    ((3,), "int64", [3]),
    (4.5, "float", [4.5]),
    ([1, 2.5], "float", [1.0, 2.5]),
    ([float("inf")], "float", [float("inf")]),
    ("héros", "bytes", ["héros".encode()]),
    (b"\xff\x00", "bytes", [b"\xff\x00"]),
    (["a", b"b", ""], "bytes", [b"a", b"b", b""]),
    ([], None, None),
    (np.int32(5), "int64", [5]),
    (np.float64(0.5), "float", [0.5]),
    (np.arange(6).reshape(2, 3), "int64", [0, 1, 2, 3, 4, 5]),
    (np.array([1, 2], np.uint64), "int64", [1, 2]),
    (np.array([1.5], np.float16), "float", [1.5]),
    (np.array(["a", "bc"]), "bytes", [b"a", b"bc"]),
    (np.array([b"a\x00", "b"], object), "bytes", [b"a\x00", b"b"]),
    (np.zeros([0], np.float32), "float", []),
  )
  def test_values(self, value, kind, values):
    self.assertEqual(one(value), (kind, values))

  def test_tensors(self):
    self.assertEqual(one(tf.constant([[1], [2]])), ("int64", [1, 2]))
    self.assertEqual(one(tf.constant("a")), ("bytes", [b"a"]))

  def test_several_features_and_none(self):
    message = serialize_one({"mov": [1], "label": 4.5})
    self.assertEqual(
      kinds_and_values(message), {"mov": ("int64", [1]), "label": ("float", [4.5])}
    )
    self.assertEqual(serialize_one({}), b"")

  def test_equal_features_give_equal_bytes(self):
    names = [f"f{i}" for i in range(50)]
    self.assertEqual(
      serialize_one({name: 1 for name in names}),
      serialize_one({name: 1 for name in reversed(names)}),
    )

  @parameterized.parameters(
    (True, "'x' must be a number, got True"),
    ([1, np.bool_(False)], "'x' must be a number"),
    (np.array([True]), "'x' must be of ints, floats or strings, got an array of bool"),
    (None, "'x' must be an int, a float, .* got None of type NoneType"),
    ([[1]], r"'x' must be an int, .* got \[1\] of type list"),
    ({"a": 1}, "'x' must be an int, "),
    ([1, "a"], "'x' must not mix strings and numbers"),
    (2**63, "'x' does not fit in 64 bits with a sign: 9223372036854775808"),
    (np.array([2**63], np.uint64), "'x' does not fit in 64 bits"),
    (1e39, r"'x' does not fit in a 32 bit float: 1e\+39"),
    ([10**400, 0.5], "'x' does not fit in a 32 bit float"),
    (1j, "'x' must be an int"),
  )
  def test_what_cannot_be_written_is_refused(self, value, message):
    with self.assertRaisesRegex(ValueError, message):
      serialize_one({"x": value})

  def test_ragged_and_symbolic_tensors_are_refused(self):
    with self.assertRaisesRegex(ValueError, "of one example, got RaggedTensor"):
      serialize_one({"x": tf.ragged.constant([[1], []])})
    with tf.Graph().as_default(), self.assertRaisesRegex(ValueError, "of a graph"):
      serialize_one({"x": tf.constant(1)})

  def test_names_are_checked(self):
    with self.assertRaisesRegex(ValueError, "names of features must be strings, got 7"):
      serialize_one({7: 1})
    with self.assertRaisesRegex(ValueError, "features must be a dict"):
      serialize_one([("a", 1)])


if __name__ == "__main__":
  absltest.main()
