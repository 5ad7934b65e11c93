import copy
import pickle

from absl.testing import absltest

from monolith.core.hyperparams import InstantiableParams, Params


def _params() -> Params:
  p = Params()
  p.define("hidden", 64, "Units of the hidden layer.")
  p.define("layers", [1, 2], "Sizes.")
  train = Params()
  train.define("max_steps", None, "Where training ends.")
  p.define("train", train, "Training.")
  return p


class _Layer:
  @classmethod
  def params(cls) -> InstantiableParams:
    p = InstantiableParams(cls)
    p.define("units", 8, "Width.")
    return p

  def __init__(self, params: InstantiableParams):
    self.p = params


class _WideLayer(_Layer):
  @classmethod
  def params(cls) -> InstantiableParams:
    p = super().params()
    p.units = 512
    p.define("bias", True, "Adds a bias.")
    return p


class ParamsTest(absltest.TestCase):
  def test_values_are_read_and_set_as_attributes(self):
    p = _params()
    self.assertEqual(p.hidden, 64)
    p.hidden = 128
    p.train.max_steps = 7
    self.assertEqual((p.hidden, p.train.max_steps), (128, 7))

  def test_set_chains_and_sets_several(self):
    p = _params().set(hidden=1, layers=[]).set_path("train.max_steps", 3)
    self.assertEqual((p.hidden, p.layers, p.get("train.max_steps")), (1, [], 3))

  def test_a_misspelt_name_is_refused_with_a_hint(self):
    p = _params()
    for access in (
      lambda: p.hiden,
      lambda: setattr(p, "hiden", 3),
      lambda: p.set(hiden=3),
      lambda: p.get("hiden"),
      lambda: p.describe("hiden"),
    ):
      with self.assertRaisesRegex(AttributeError, "'hiden'; did you mean 'hidden'"):
        access()
    with self.assertRaisesRegex(AttributeError, "known: hidden, layers, train"):
      _ = p.something_else
    self.assertEqual(p.hidden, 64)

  def test_a_path_through_a_value_is_refused(self):
    with self.assertRaisesRegex(AttributeError, "'hidden' holds a value"):
      _params().get("hidden.units")
    with self.assertRaisesRegex(AttributeError, "'max_step'; did you mean 'max_steps'"):
      _params().set_path("train.max_step", 1)

  def test_define_refuses_what_could_not_be_used(self):
    p = _params()
    for name in ("two words", "_hidden", "copy", "set", ""):
      with self.assertRaisesRegex(ValueError, "wanted a plain identifier"):
        p.define(name, 0, "")
    with self.assertRaisesRegex(ValueError, "'hidden' is already defined"):
      p.define("hidden", 0, "")
    with self.assertRaisesRegex(ValueError, "wanted a plain identifier"):
      InstantiableParams(_Layer).define("instantiate", 0, "")

  def test_a_copy_shares_nothing_that_changes(self):
    for duplicate in (Params.copy, copy.deepcopy, copy.copy):
      p = _params()
      clone = duplicate(p)
      self.assertEqual(clone, p)
      clone.hidden = 1
      clone.layers.append(3)
      clone.train.max_steps = 9
      clone.define("extra", 0, "")
      self.assertEqual(p, _params())
      self.assertNotEqual(clone, p)

  def test_params_survive_pickling(self):
    p = _params().set(hidden=3)
    clone = pickle.loads(pickle.dumps(p))
    self.assertEqual(clone, p)
    self.assertEqual(clone.describe("hidden"), "Units of the hidden layer.")
    clone.train.max_steps = 1
    self.assertIsNone(p.train.max_steps)

  def test_names_can_be_tested_and_listed(self):
    p = _params()
    self.assertIn("hidden", p)
    self.assertNotIn("hiden", p)
    self.assertEqual([name for name, _ in p], ["hidden", "layers", "train"])
    self.assertFalse(hasattr(p, "hiden"))

  def test_repr_lists_nested_values_by_path(self):
    self.assertEqual(
      repr(_params()), "hidden = 64\nlayers = [1, 2]\ntrain.max_steps = None"
    )


class InstantiableParamsTest(absltest.TestCase):
  def test_instantiate_builds_the_class_from_a_copy(self):
    p = _Layer.params().set(units=3)
    layer = p.instantiate()
    self.assertIsInstance(layer, _Layer)
    self.assertEqual(layer.p.units, 3)
    layer.p.units = 4
    self.assertEqual(p.units, 3)

  def test_a_subclass_adds_and_overrides(self):
    layer = _WideLayer.params().instantiate()
    self.assertIsInstance(layer, _WideLayer)
    self.assertEqual((layer.p.units, layer.p.bias), (512, True))
    self.assertEqual(_Layer.params().units, 8)
    self.assertNotIn("bias", _Layer.params())

  def test_copies_build_the_same_class(self):
    p = _WideLayer.params()
    for clone in (p.copy(), copy.copy(p), pickle.loads(pickle.dumps(p))):
      self.assertIs(clone.cls, _WideLayer)
      self.assertIsInstance(clone.instantiate(), _WideLayer)

  def test_params_of_different_classes_differ(self):
    a = InstantiableParams(_Layer)
    self.assertNotEqual(a, InstantiableParams(_WideLayer))
    self.assertEqual(a, InstantiableParams(_Layer))


if __name__ == "__main__":
  absltest.main()
