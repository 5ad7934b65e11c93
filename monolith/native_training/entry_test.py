import dataclasses
import json

import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training import entry

_ALL = [
  entry.SgdOptimizer(),
  entry.AdagradOptimizer(),
  entry.AdadeltaOptimizer(),
  entry.AdamOptimizer(),
  entry.AmsgradOptimizer(),
  entry.MomentumOptimizer(),
  entry.RmspropOptimizer(),
  entry.FtrlOptimizer(),
  entry.FTRLWithGroupSparsityOptimizer(),
  entry.AdaGradWithGroupLassoOptimizer(),
  entry.DynamicWdAdagradOptimizer(),
  entry.MovingAverageOptimizer(),
  entry.StochasticRoundingFloat16OptimizerWrapper(entry.SgdOptimizer()),
  entry.ZerosInitializer(),
  entry.ConstantsInitializer(0.5),
  entry.RandomUniformInitializer(),
  entry.RandomNormalInitializer(),
  entry.Fp32Compressor(),
  entry.Fp16Compressor(),
  entry.FixedR8Compressor(),
  entry.OneBitCompressor(),
]


class EntryTest(parameterized.TestCase):
  @parameterized.parameters(*_ALL)
  def test_the_core_gets_every_setting(self, settings):
    config = json.loads(json.dumps(settings.config()))
    names = {field.name for field in dataclasses.fields(settings)}
    self.assertEqual(set(config), names | {"type"})

  def test_each_kind_has_a_type_of_its_own(self):
    types = [settings.config()["type"] for settings in _ALL]
    self.assertLen(set(types), len(_ALL))

  def test_settings_are_what_was_given(self):
    optimizer = entry.AdagradOptimizer(
      learning_rate=0.5, initial_accumulator_value=1, warmup_steps=10
    )
    self.assertEqual(
      optimizer.config(),
      {
        "type": "adagrad",
        "learning_rate": 0.5,
        "initial_accumulator_value": 1,
        "weight_decay_factor": 0.0,
        "warmup_steps": 10,
      },
    )
    self.assertEqual(
      entry.RandomUniformInitializer(-1, 1).config(),
      {"type": "random_uniform", "minval": -1, "maxval": 1},
    )

  def test_numbers_of_numpy_are_numbers(self):
    optimizer = entry.AdagradOptimizer(np.float32(0.5), warmup_steps=np.int64(3))
    self.assertEqual(optimizer, entry.AdagradOptimizer(0.5, warmup_steps=3))
    self.assertEqual(json.loads(json.dumps(optimizer.config()))["warmup_steps"], 3)

  def test_the_defaults_are_the_documented_ones(self):
    self.assertEqual(
      entry.DEFAULT_OPTIMIZER,
      entry.AdagradOptimizer(
        learning_rate=0.05, initial_accumulator_value=0.1, weight_decay_factor=0
      ),
    )
    self.assertEqual(
      entry.DEFAULT_INITIALIZER, entry.RandomUniformInitializer(-0.05, 0.05)
    )
    self.assertEqual(entry.DEFAULT_COMPRESSOR, entry.Fp16Compressor())

  def test_a_wrapper_nests_the_optimizer_and_has_its_rate(self):
    wrapper = entry.StochasticRoundingFloat16OptimizerWrapper(
      entry.AdagradOptimizer(0.2, warmup_steps=5)
    )
    self.assertEqual(wrapper.config()["optimizer"]["type"], "adagrad")
    self.assertEqual(wrapper.config()["optimizer"]["learning_rate"], 0.2)
    self.assertEqual(wrapper.learning_rate, 0.2)
    self.assertTrue(wrapper.depends_on_step)
    average = entry.MovingAverageOptimizer()
    wrapper = entry.StochasticRoundingFloat16OptimizerWrapper(average)
    self.assertEqual(wrapper.learning_rate, 0.0)

  def test_only_warm_up_needs_the_global_step(self):
    self.assertFalse(entry.AdagradOptimizer().depends_on_step)
    self.assertFalse(entry.SgdOptimizer().depends_on_step)
    self.assertTrue(entry.AdagradOptimizer(warmup_steps=1).depends_on_step)

  @parameterized.parameters(
    (lambda: entry.SgdOptimizer(float("nan")), "SgdOptimizer.learning_rate: got nan"),
    (lambda: entry.SgdOptimizer("0.1"), "SgdOptimizer.learning_rate: got '0.1'"),
    (lambda: entry.SgdOptimizer(None), "SgdOptimizer.learning_rate: got None"),
    (lambda: entry.SgdOptimizer(True), "SgdOptimizer.learning_rate: got True"),
    (
      lambda: entry.AdagradOptimizer(entry.SgdOptimizer()),
      "AdagradOptimizer.learning_rate: got SgdOptimizer",
    ),
    (
      lambda: entry.AdagradOptimizer(warmup_steps=0.5),
      "AdagradOptimizer.warmup_steps: got 0.5",
    ),
    (
      lambda: entry.AdamOptimizer(use_nesterov="no"),
      "AdamOptimizer.use_nesterov: got 'no'",
    ),
    (
      lambda: entry.ConstantsInitializer(float("inf")),
      "ConstantsInitializer.constant: got inf",
    ),
    (
      lambda: entry.StochasticRoundingFloat16OptimizerWrapper(0.1),
      "Wrapper.optimizer: got 0.1",
    ),
    (
      lambda: entry.StochasticRoundingFloat16OptimizerWrapper(entry.Fp16Compressor()),
      "Wrapper.optimizer: got Fp16Compressor",
    ),
  )
  def test_what_is_not_a_setting_is_refused_by_name(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make()

  @parameterized.parameters(
    (entry.SgdOptimizer, "learning_rate", -1, "at least 0"),
    (entry.SgdOptimizer, "learning_rate", 1e39, "at least 0"),
    (entry.SgdOptimizer, "learning_rate", 10**400, "at least 0"),
    (entry.AdagradOptimizer, "initial_accumulator_value", 0, "at least 1.17549e-38"),
    (entry.AdagradOptimizer, "initial_accumulator_value", 1e-50, "at least"),
    (entry.AdagradOptimizer, "weight_decay_factor", -0.1, "at least 0"),
    (entry.AdagradOptimizer, "warmup_steps", -1, "at least 0"),
    (entry.AdadeltaOptimizer, "averaging_ratio", 1.0, "at least 0 and below 1"),
    (entry.AdadeltaOptimizer, "epsilon", 0.0, "above 0"),
    (entry.AdamOptimizer, "beta1", 1.0, "at least 0 and below 1"),
    (entry.AdamOptimizer, "beta1", 1 - 1e-12, "at least 0 and below 1"),
    (entry.AdamOptimizer, "beta2", -0.1, "at least 0 and below 1"),
    (entry.AdamOptimizer, "epsilon", 1e-60, "above 0"),
    (entry.AmsgradOptimizer, "beta2", 2, "at least 0 and below 1"),
    (entry.MomentumOptimizer, "momentum", 1, "at least 0 and below 1"),
    (entry.RmspropOptimizer, "epsilon", -1e-7, "above 0"),
    (entry.FtrlOptimizer, "l1_regularization", -1, "at least 0"),
    (entry.FTRLWithGroupSparsityOptimizer, "beta", -1, "at least 0"),
    (entry.AdaGradWithGroupLassoOptimizer, "l2_regularization", -1, "at least 0"),
    (entry.DynamicWdAdagradOptimizer, "weight_decay_factor", -1, "at least 0"),
    (entry.MovingAverageOptimizer, "momentum", 1, "at least 0 and below 1"),
    (entry.RandomNormalInitializer, "stddev", -1, "at least 0"),
    (entry.RandomUniformInitializer, "minval", 1, "at most maxval, 0.05"),
    (entry.FixedR8Compressor, "fixed_range", 0, "at least 1e-30"),
    (
      entry.StochasticRoundingFloat16OptimizerWrapper,
      "optimizer",
      entry.StochasticRoundingFloat16OptimizerWrapper(),
      "does not wrap another",
    ),
  )
  def test_what_is_out_of_range_is_refused(self, kind, name, value, wanted):
    message = rf"{kind.__name__}\.{name}: got .*, wanted .*{wanted}"
    with self.assertRaisesRegex(ValueError, message):
      kind(**{name: value})

  def test_the_ends_of_ranges_are_allowed(self):
    entry.SgdOptimizer(0)
    entry.AdamOptimizer(0, 0, 0, 1e-45)
    entry.FtrlOptimizer(0, 0, 0, 0, 0)
    entry.FixedR8Compressor(1e-30)
    entry.RandomUniformInitializer(1, 1)
    entry.ConstantsInitializer(-3e38)

  def test_equal_settings_are_equal_and_hashable(self):
    self.assertEqual(entry.AdamOptimizer(0.1), entry.AdamOptimizer(0.1))
    self.assertNotEqual(entry.AdamOptimizer(0.1), entry.AmsgradOptimizer(0.1))
    self.assertLen({entry.SgdOptimizer(0.1), entry.SgdOptimizer(0.1)}, 1)

  def test_settings_do_not_change_once_made(self):
    with self.assertRaises(dataclasses.FrozenInstanceError):
      entry.DEFAULT_OPTIMIZER.learning_rate = 1.0


if __name__ == "__main__":
  absltest.main()
