"""Which requests a signature lets through."""

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.serving.errors import Code, ServingError
from monolith.serving.servable.signature import Signature, TensorSpec


def _definition(**shapes):
  """Inputs of int64 and the output `score`, of the shapes."""
  definition = tf.compat.v1.MetaGraphDef().signature_def["s"]
  for name, shape in shapes.items():
    side = definition.outputs if name == "score" else definition.inputs
    side[name].name = f"{name}:0"
    side[name].dtype = tf.int64.as_datatype_enum
    for size in shape:
      side[name].tensor_shape.dim.add().size = size
  return definition


class SignatureTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    definition = _definition(user=[-1, 1], item=[-1, 2], score=[-1, 1])
    self.signature = Signature.of("s", definition)

  def _refused(self, pattern: str, function, *arguments) -> None:
    with self.assertRaisesRegex(ServingError, pattern) as caught:
      function(*arguments)
    self.assertEqual(caught.exception.code, Code.INVALID_ARGUMENT)

  def test_a_definition_is_read(self):
    self.assertEqual(
      self.signature.inputs["item"], TensorSpec("item:0", tf.int64, (None, 2))
    )
    self.assertTrue(self.signature.is_batch)

  def test_what_has_a_fixed_first_dimension_is_no_batch(self):
    for score in ([], [1], [3, 1]):
      definition = _definition(user=[-1, 1], score=score)
      self.assertFalse(Signature.of("s", definition).is_batch)

  def test_sparse_tensors_are_not_served(self):
    definition = _definition(user=[-1, 1], score=[-1])
    definition.inputs["user"].coo_sparse.values_tensor_name = "v:0"
    self.assertIsNone(Signature.of("s", definition))

  def test_what_has_no_arrays_is_not_served(self):
    no_dtype = 0
    opaque = [dtype.as_datatype_enum for dtype in (tf.resource, tf.variant)]
    for side in ("inputs", "outputs"):
      for dtype in (*opaque, no_dtype):
        definition = _definition(user=[-1, 1], score=[-1])
        for info in getattr(definition, side).values():
          info.dtype = dtype
        self.assertIsNone(Signature.of("s", definition))

  def test_missing_and_extra_inputs_are_named(self):
    self._refused(
      r"1!=2\. Sent extra: \{usr\}\. Missing but required: \{item,user\}",
      self.signature.check_names,
      {"usr"},
    )
    self.signature.check_names({"item", "user"})

  def test_unknown_outputs_are_named(self):
    self._refused(
      r"not found in signature: scores\..*\{score\}",
      self.signature.check_outputs,
      ["score", "scores"],
    )
    self._refused("duplicate.*: score", self.signature.check_outputs, ["score"] * 2)

  def test_shapes_must_fit(self):
    def feeds(user, item):
      return {"user": np.zeros(user, np.int64), "item": np.zeros(item, np.int64)}

    self.signature.check_shapes(feeds((5, 1), (5, 2)))
    check = self.signature.check_shapes
    self._refused(
      r"'item': got shape \[5, 3\], wanted \[\?, 2\]", check, feeds((5, 1), (5, 3))
    )
    self._refused(r"'user': got shape \[5\], wanted", check, feeds((5,), (5, 2)))
    self._refused("item: 5, user: 4", check, feeds((4, 1), (5, 2)))


if __name__ == "__main__":
  absltest.main()
