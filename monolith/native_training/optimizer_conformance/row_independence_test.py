"""What the optimizers of `entry.py` do to rows beside each other."""

import numpy as np
from absl.testing import absltest, parameterized

from monolith.native_training import entry
from monolith.native_training.hash_table_ops import HashTable
from monolith.native_training.optimizer_conformance import case as conformance_case
from monolith.native_training.optimizer_conformance.case import DIM
from monolith.native_training.optimizer_conformance.cases import CASES


class RowIndependenceTest(parameterized.TestCase):
  @parameterized.named_parameters((case.name, case) for case in CASES)
  def test_rows_do_not_see_each_other(self, case):
    """A row that trains with others ends as one that trains alone."""
    ids, weights = conformance_case.start()
    together = HashTable("t", DIM, optimizer=case.optimizer)
    alone = HashTable("t", DIM, optimizer=case.optimizer)
    together.assign(ids, weights)
    alone.assign(ids[:1], weights[:1])
    for step in range(20):
      gradients, rate = conformance_case.gradients(step), case.tables_rate(step)
      some = slice(step % 2, None)  # The first row joins in every second step.
      together.apply_gradients(ids[some], gradients[some], rate, global_step=step)
      if step % 2 == 0:
        alone.apply_gradients(ids[:1], gradients[:1], rate, global_step=step)
    np.testing.assert_array_equal(together.lookup(ids[:1]), alone.lookup(ids[:1]))

  @parameterized.parameters(
    entry.FTRLWithGroupSparsityOptimizer(0.05, l1_regularization=10.0, beta=1.0),
    entry.AdaGradWithGroupLassoOptimizer(l2_regularization=0.05),
  )
  def test_group_sparsity_empties_the_rows_without_signal(self, optimizer):
    ids, weights = conformance_case.start()
    table = HashTable("sparse", DIM, optimizer=optimizer)
    table.assign(ids, weights)
    for step in range(conformance_case.STEPS):
      gradients = conformance_case.gradients(step)
      gradients[::2] *= 0.01
      table.apply_gradients(ids, gradients)
    self.assertEqual(np.abs(table.lookup(ids)).max(axis=1)[::2].tolist(), [0] * 4)
    self.assertTrue(np.all(table.lookup(ids)[1::2] != 0))


if __name__ == "__main__":
  absltest.main()
