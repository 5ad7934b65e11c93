"""Every optimizer of `entry.py` through `HashTable`, beside its reference.

  tools/bazel run //monolith/native_training:optimizer_conformance_test

prints the table of runtime/hash_table/optimizer/README.md.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training import optimizer_references as references
from monolith.native_training.hash_table_ops import HashTable
from monolith.native_training.learning_rate_functions import PolynomialDecay

_ROWS, _DIM, _STEPS = 8, 37, 200
_LIMIT = 1e-6
_v1, _keras = tf.compat.v1.train, tf.keras.optimizers


@dataclasses.dataclass(frozen=True)
class Case:
  """An optimizer and what it must equal."""

  optimizer: entry.Optimizer
  reference_name: str
  reference: Callable[[np.ndarray], references.Reference]

  @property
  def name(self) -> str:
    """The optimizer with the settings that differ from its defaults."""
    defaults = type(self.optimizer)()
    settings = [
      f"{field.name}={getattr(self.optimizer, field.name)}"
      for field in dataclasses.fields(defaults)
      if getattr(self.optimizer, field.name) != getattr(defaults, field.name)
    ]
    return f"{type(self.optimizer).__name__}({', '.join(settings)})"


def _tensorflow(optimizer, name, make) -> Case:
  return Case(optimizer, name, references.tensorflow_optimizer(make))


_adam = {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 0.01}
_CASES = [
  _tensorflow(
    entry.SgdOptimizer(),
    "tf.compat.v1.train.GradientDescentOptimizer",
    lambda: _v1.GradientDescentOptimizer(0.01),
  ),
  _tensorflow(
    entry.AdagradOptimizer(),
    "tf.compat.v1.train.AdagradOptimizer",
    lambda: _v1.AdagradOptimizer(0.05, 0.1),
  ),
  Case(
    entry.AdagradOptimizer(weight_decay_factor=0.1),
    "tf.compat.v1.train.AdagradOptimizer on g + 0.1 w",
    references.with_weight_decay(
      references.tensorflow_optimizer(lambda: _v1.AdagradOptimizer(0.05, 0.1)), 0.1
    ),
  ),
  _tensorflow(
    entry.AdadeltaOptimizer(),
    "tf.compat.v1.train.AdadeltaOptimizer",
    lambda: _v1.AdadeltaOptimizer(0.01, 0.9, 0.01),
  ),
  _tensorflow(
    entry.AdamOptimizer(), "tf.keras.optimizers.Adam", lambda: _keras.Adam(**_adam)
  ),
  Case(
    entry.AdamOptimizer(use_nesterov=True),
    "tf.raw_ops.ResourceApplyAdam(use_nesterov=True)",
    references.nesterov_adam(0.01, 0.9, 0.99, 0.01),
  ),
  Case(
    entry.AdamOptimizer(weight_decay_factor=0.1),
    "tf.keras.optimizers.Adam on g + 0.1 w",
    references.with_weight_decay(
      references.tensorflow_optimizer(lambda: _keras.Adam(**_adam)), 0.1
    ),
  ),
  _tensorflow(
    entry.AmsgradOptimizer(),
    "tf.keras.optimizers.Adam(amsgrad=True)",
    lambda: _keras.Adam(**_adam, amsgrad=True),
  ),
  Case(
    entry.AmsgradOptimizer(weight_decay_factor=0.1),
    "tf.keras.optimizers.Adam(amsgrad=True) on g + 0.1 w",
    references.with_weight_decay(
      references.tensorflow_optimizer(lambda: _keras.Adam(**_adam, amsgrad=True)), 0.1
    ),
  ),
  _tensorflow(
    entry.MomentumOptimizer(),
    "tf.compat.v1.train.MomentumOptimizer",
    lambda: _v1.MomentumOptimizer(0.01, 0.9),
  ),
  _tensorflow(
    entry.MomentumOptimizer(use_nesterov=True),
    "tf.compat.v1.train.MomentumOptimizer(use_nesterov=True)",
    lambda: _v1.MomentumOptimizer(0.01, 0.9, use_nesterov=True),
  ),
  _tensorflow(
    entry.RmspropOptimizer(),
    "tf.keras.optimizers.RMSprop(rho=0.9)",
    lambda: _keras.RMSprop(0.01, rho=0.9, epsilon=1e-7),
  ),
  _tensorflow(
    entry.FtrlOptimizer(),
    "tf.compat.v1.train.FtrlOptimizer",
    lambda: _v1.FtrlOptimizer(0.01),
  ),
  _tensorflow(
    entry.FtrlOptimizer(0.05, 0.2, 1.0, 2.0, 0.5),
    "tf.compat.v1.train.FtrlOptimizer with the same",
    lambda: _v1.FtrlOptimizer(
      0.05,
      initial_accumulator_value=0.2,
      beta=1.0,
      l1_regularization_strength=2.0,
      l2_regularization_strength=0.5,
    ),
  ),
  Case(
    entry.FTRLWithGroupSparsityOptimizer(0.05, 0.1, 1.0, 10.0, 0.5),
    "NumPy, of Duchi et al. 2011 and Yuan, Lin 2006",
    references.group_ftrl(0.05, 0.1, 1.0, 10.0, 0.5),
  ),
  _tensorflow(
    entry.AdaGradWithGroupLassoOptimizer(),
    "tf.compat.v1.train.AdagradOptimizer",
    lambda: _v1.AdagradOptimizer(0.05, 0.1),
  ),
  Case(
    entry.AdaGradWithGroupLassoOptimizer(l2_regularization=0.5),
    "NumPy, of Duchi et al. 2011 and Yuan, Lin 2006",
    references.group_adagrad(0.05, 0.1, 0.5),
  ),
  _tensorflow(
    entry.DynamicWdAdagradOptimizer(weight_decay_factor=0.1),
    "tf.keras.optimizers.Adagrad(weight_decay=0.1, epsilon=0)",
    lambda: _keras.Adagrad(0.05, 0.1, epsilon=0.0, weight_decay=0.1),
  ),
  Case(
    entry.MovingAverageOptimizer(),
    "tf.train.ExponentialMovingAverage",
    references.moving_average(0.9),
  ),
  Case(
    entry.StochasticRoundingFloat16OptimizerWrapper(),
    "NumPy, of Gupta et al. 2015, with the core's random bits",
    references.stochastic_rounding(references.adagrad_in_place(0.05, 0.1)),
  ),
]


def _start(seed: int = 3) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
  """Random numbers, ids and first weights."""
  rng = np.random.default_rng(seed)
  ids = rng.integers(-(2**63), 2**63 - 1, _ROWS)
  return rng, ids, rng.normal(size=(_ROWS, _DIM), scale=0.1).astype(np.float32)


def _gradients(rng: np.random.Generator) -> np.ndarray:
  return rng.normal(size=(_ROWS, _DIM)).astype(np.float32)


def _largest_error(case: Case) -> float:
  """The largest difference, as part of the largest weight, of all steps."""
  rng, ids, weights = _start()
  table = HashTable("conformance", _DIM, optimizer=case.optimizer)
  table.assign(ids, weights)
  reference = case.reference(weights)
  worst = 0.0
  for step in range(_STEPS):
    gradients = _gradients(rng)
    table.apply_gradients(ids, gradients, global_step=step)
    wanted = reference(gradients).astype(np.float64)
    difference = np.abs(table.lookup(ids).numpy() - wanted).max()
    if difference > 0:  # All weights may be 0 for a while, and then in both.
      worst = max(worst, difference / np.abs(wanted).max())
  assert np.all(np.isfinite(wanted)) and np.any(wanted != 0), case.name
  return float(worst)


class OptimizerConformanceTest(parameterized.TestCase):
  def test_every_optimizer_equals_its_reference(self):
    lines = []
    for case in _CASES:
      error = _largest_error(case)
      lines.append(f"| `{case.name}` | {case.reference_name} | {error:.1e} |")
      with self.subTest(case.name):
        self.assertLess(error, _LIMIT)
    print("| optimizer | reference | largest relative error |")
    print("|---|---|---|", *lines, sep="\n", flush=True)

  def test_every_optimizer_has_a_case(self):
    have = {type(case.optimizer) for case in _CASES}
    all_of_them = {
      value
      for value in vars(entry).values()
      if isinstance(value, type)
      and issubclass(value, entry.Optimizer)
      and value is not entry.Optimizer
    }
    self.assertEqual(have, all_of_them)

  @parameterized.named_parameters((case.name, case) for case in _CASES)
  def test_training_goes_on_after_restore(self, case):
    rng, ids, weights = _start()
    first = HashTable("restored", _DIM, optimizer=case.optimizer)
    first.assign(ids, weights)
    for step in range(5):
      first.apply_gradients(ids, _gradients(rng), global_step=step)
    second = HashTable("restored", _DIM, optimizer=case.optimizer)
    with tempfile.TemporaryDirectory() as folder:
      path = str(pathlib.Path(folder) / "table")
      first.save(path)
      second.restore(path)
    for step in range(5, 10):
      gradients = _gradients(rng)
      for table in (first, second):
        table.apply_gradients(ids, gradients, global_step=step)
      np.testing.assert_array_equal(first.lookup(ids), second.lookup(ids))

  @parameterized.named_parameters((case.name, case) for case in _CASES)
  def test_rows_do_not_see_each_other(self, case):
    """A row that trains with others ends as one that trains alone."""
    rng, ids, weights = _start()
    together = HashTable("t", _DIM, optimizer=case.optimizer)
    alone = HashTable("t", _DIM, optimizer=case.optimizer)
    together.assign(ids, weights)
    alone.assign(ids[:1], weights[:1])
    for step in range(20):
      gradients = _gradients(rng)
      some = slice(step % 2, None)  # The first row joins in every second step.
      together.apply_gradients(ids[some], gradients[some])
      if step % 2 == 0:
        alone.apply_gradients(ids[:1], gradients[:1])
    np.testing.assert_array_equal(together.lookup(ids[:1]), alone.lookup(ids[:1]))

  def test_the_rate_may_follow_a_schedule(self):
    rng, ids, weights = _start()
    schedule = PolynomialDecay(0.1, 20, 0.001)
    table = HashTable("scheduled", _DIM)
    table.assign(ids, weights)
    rate = tf.Variable(0.0)
    optimizer, variable = _v1.AdagradOptimizer(rate, 0.1), tf.Variable(weights)
    for step in range(30):
      rate.assign(_v1.polynomial_decay(0.1, step, 20, 0.001)())
      gradients = _gradients(rng)
      now = schedule(tf.constant(step, tf.int64))
      table.apply_gradients(ids, gradients, learning_rate=now)
      optimizer.apply_gradients([(tf.constant(gradients), variable)])
    np.testing.assert_allclose(table.lookup(ids), variable, rtol=1e-6, atol=1e-7)

  def test_ftrl_shrinks_to_zero_where_tensorflows_does(self):
    case = next(c for c in _CASES if "l1_reg" in c.name and "FtrlOpt" in c.name)
    rng, ids, weights = _start()
    table = HashTable("sparse", _DIM, optimizer=case.optimizer)
    table.assign(ids, weights)
    reference = case.reference(weights)
    for _ in range(_STEPS):
      gradients = _gradients(rng)
      table.apply_gradients(ids, gradients)
      wanted = reference(gradients)
    zeros = table.lookup(ids).numpy() == 0
    np.testing.assert_array_equal(zeros, wanted == 0)
    self.assertBetween(zeros.mean(), 0.05, 0.95)

  def test_group_sparsity_empties_some_rows(self):
    case = next(c for c in _CASES if "GroupSparsity" in c.name)
    rng, ids, weights = _start()
    table = HashTable("sparse", _DIM, optimizer=case.optimizer)
    table.assign(ids, weights)
    for _ in range(_STEPS):
      gradients = _gradients(rng)
      gradients[::2] *= 0.01
      table.apply_gradients(ids, gradients)
    self.assertEqual(np.abs(table.lookup(ids)).max(axis=1)[::2].tolist(), [0] * 4)
    self.assertTrue(np.all(table.lookup(ids)[1::2] != 0))


if __name__ == "__main__":
  absltest.main()
