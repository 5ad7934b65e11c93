"""The table over NumPy arrays and the one of TensorFlow ops, in one process."""

import subprocess
import sys
import unittest

from monolith.native_training.local_runner.local_cluster import python_environment

_COMPARE = """
import numpy as np
from monolith.native_training import entry

def plain():
  from monolith.native_training.runtime.hash_table.python import embedding_table
  return embedding_table.EmbeddingTable.create("same name", dim=8)

def tensorflow():
  from monolith.native_training import hash_table_ops
  return hash_table_ops.HashTable("same name", dim=8)

makers = [plain, tensorflow] if {plain_first} else [tensorflow, plain]
tables = [make() for make in makers]
random = np.random.default_rng(0)
ids = random.integers(-(2**63), 2**63 - 1, 1000)
grads = random.normal(size=[1000, 8]).astype(np.float32)
first, second = (np.array(t.lookup(ids)) for t in tables)
np.testing.assert_array_equal(first, second)
assert np.ptp(first) > 0.09
for table in tables:
  table.apply_gradients(ids, grads)
np.testing.assert_array_equal(*(np.array(t.lookup(ids)) for t in tables))
libraries = [line.split()[-1] for line in open("/proc/self/maps")
             if "libtensorflow_framework" in line]
assert len(set(libraries)) == 1, libraries
"""


class EmbeddingTableTensorFlowTest(unittest.TestCase):
  def test_both_are_the_same_table_whichever_is_loaded_first(self):
    for plain_first in (True, False):
      with self.subTest(plain_first=plain_first):
        run = subprocess.run(
          [sys.executable, "-c", _COMPARE.format(plain_first=plain_first)],
          env=python_environment(),
          capture_output=True,
          text=True,
        )
        self.assertEqual(run.returncode, 0, run.stderr)


if __name__ == "__main__":
  unittest.main()
