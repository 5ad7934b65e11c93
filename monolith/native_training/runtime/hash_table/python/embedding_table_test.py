"""The table over NumPy arrays, beside NumPy's own arithmetic."""

import concurrent.futures
import doctest
import gc
import sys
import threading
import time
import unittest

import numpy as np

from monolith.native_training import entry
from monolith.native_training.runtime.hash_table.python import embedding_table
from monolith.native_training.runtime.hash_table.python.embedding_table import (
  EmbeddingTable,
  Rows,
)

_SGD = entry.SgdOptimizer(1.0)
_DAY = 86400


def load_tests(loader, tests, ignore):
  del loader, ignore
  tests.addTests(doctest.DocTestSuite(embedding_table))
  return tests


def _rows(*rows) -> np.ndarray:
  return np.array(rows, np.float32)


class EmbeddingTableTest(unittest.TestCase):
  def test_needs_no_tensorflow(self):
    EmbeddingTable.create("a", dim=2).size()
    self.assertNotIn("tensorflow", sys.modules)

  def test_reads_what_was_assigned_and_initial_values_elsewhere(self):
    table = EmbeddingTable.create("a", 2, entry.ConstantsInitializer(0.25), _SGD)
    ids = np.array([7, -(2**63), 2**63 - 1])
    values = _rows([1, 2], [3, 4], [5, 6])
    table.assign(ids, values)
    table.assign_add(ids[:1], _rows([0.5, 0.5]))
    got = table.lookup(np.array([2**63 - 1, 8, 7, 7]))
    np.testing.assert_array_equal(got, _rows([5, 6], [0.25] * 2, *[[1.5, 2.5]] * 2))
    got = table.lookup(np.array([8, 7]), zero_missing=True)
    np.testing.assert_array_equal(got, _rows([0, 0], [1.5, 2.5]))
    self.assertEqual(table.size(), 3)
    self.assertGreater(table.memory_bytes(), 3 * 2 * 4)

  def test_lookup_writes_to_an_array_of_the_caller(self):
    table = EmbeddingTable.create("a", 2, entry.ConstantsInitializer(0.25))
    buffer = np.zeros([10, 2], np.float32)
    part = buffer[4:6]
    self.assertIs(table.lookup(np.array([1, 2]), out=part), part)
    np.testing.assert_array_equal(buffer.sum(axis=1) > 0, np.arange(10) // 2 == 2)

  def test_gradients_of_an_id_are_summed_and_applied_once(self):
    table = EmbeddingTable.create(
      "a", 1, entry.ZerosInitializer(), entry.AdagradOptimizer(0.5, 0.1)
    )
    table.apply_gradients(np.array([5, 6, 5]), _rows([1], [2], [3]))
    sums = np.array([[4.0], [2.0]])
    wanted = -0.5 * sums / np.sqrt(0.1 + sums**2)
    np.testing.assert_allclose(table.lookup(np.array([5, 6])), wanted, rtol=1e-6)

  def test_learning_rates_of_all_segments_or_of_each(self):
    segment = {
      "optimizer": {"type": "sgd", "learning_rate": 4},
      "initializer": {"type": "zeros"},
    }
    segments = [{"name": n, "dim": 1, **segment} for n in "ab"]
    table = EmbeddingTable({"name": "t", "segments": segments})
    ids, ones = np.array([1]), _rows([1, 1])
    for rate, wanted in ((None, [4, 4]), (2, [2, 2]), ([1, 3], [1, 3])):
      table.clear()
      table.apply_gradients(ids, ones, learning_rate=rate)
      np.testing.assert_array_equal(table.lookup(ids), [np.negative(wanted)])

  def test_ids_on_trial_beyond_the_capacity_are_forgotten(self):
    ids = np.arange(20000)
    for capacity, remembered in ((1000, False), (30000, True)):
      table = EmbeddingTable.create(
        "a", 1, occurrence_threshold=2, admission_capacity=capacity
      )
      self.assertEqual(table.config["admission_capacity"], capacity)
      table.apply_gradients(ids, np.ones([len(ids), 1], np.float32))
      self.assertEqual(table.size(), 0)
      table.apply_gradients(ids[:1], np.ones([1, 1], np.float32))
      self.assertEqual(table.size(), int(remembered))

  def test_erases_and_evicts(self):
    table = EmbeddingTable.create("a", 1, optimizer=_SGD, expire_time=1.5)
    ids = np.arange(10)
    table.assign(ids[:5], np.zeros([5, 1], np.float32), update_time=1000)
    table.assign(ids[5:], np.zeros([5, 1], np.float32), update_time=1001)
    self.assertEqual(table.erase(np.array([0, 0, 99])), 1)
    self.assertEqual(table.evict(now=1001 + int(1.5 * _DAY)), 4)
    self.assertEqual(table.size(), 5)
    # By the clock the rest is long out of date too.
    self.assertEqual(table.evict(), 5)
    table.assign(ids, np.zeros([10, 1], np.float32))
    self.assertEqual(table.evict(), 0)

  def test_exported_rows_make_the_same_table(self):
    table = EmbeddingTable.create("a", 3, num_threads=2)
    random = np.random.default_rng(0)
    ids = random.integers(-(2**63), 2**63 - 1, 5000)
    grads = random.normal(size=[5000, 3]).astype(np.float32)
    table.apply_gradients(ids, grads, update_time=77)
    copy = EmbeddingTable(table.config)
    exported = 0
    for rows in table.export():
      exported += len(rows.ids)
      np.testing.assert_array_equal(rows.update_times, 77)
      np.testing.assert_array_equal(rows.embeddings, table.lookup(rows.ids))
      self.assertEqual(rows.states.shape, (len(rows.ids), table.state_dim))
      copy.import_rows(rows)
    self.assertEqual(exported, 5000)
    for t in (table, copy):
      t.apply_gradients(ids, grads)
    np.testing.assert_array_equal(copy.lookup(ids), table.lookup(ids))

  def test_exported_arrays_outlive_the_table(self):
    table = EmbeddingTable.create("a", 1, entry.ConstantsInitializer(3.0))
    table.assign_add(np.arange(1000), np.zeros([1000, 1], np.float32))
    parts = list(table.export())
    del table
    gc.collect()
    all_rows = Rows(*map(np.concatenate, zip(*parts, strict=True)))
    np.testing.assert_array_equal(np.sort(all_rows.ids), np.arange(1000))
    np.testing.assert_array_equal(all_rows.embeddings, 3)

  def test_the_config_tells_all_and_makes_an_equal_table(self):
    table = EmbeddingTable('{"name": "t", "segments": [{"name": "s", "dim": 4}]}')
    self.assertEqual(table.dim, 4)
    self.assertEqual(table.config["segments"][0]["optimizer"]["type"], "adagrad")
    self.assertEqual(EmbeddingTable(table.config).config, table.config)

  def test_threads_work_at_the_same_time_and_lose_nothing(self):
    table = EmbeddingTable.create("a", 4, entry.ZerosInitializer(), _SGD)
    ids = np.arange(2000)
    ones = np.ones([2000, 4], np.float32)

    def add(_):
      for _ in range(50):
        table.assign_add(ids, ones)
        seen = table.lookup(ids)
        # A row is never seen half written.
        np.testing.assert_array_equal(seen, np.broadcast_to(seen[:, :1], seen.shape))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      list(pool.map(add, range(4)))
    np.testing.assert_array_equal(table.lookup(ids), 200)

  def test_releases_the_interpreter_while_it_works(self):
    table = EmbeddingTable.create("a", 64)
    ids = np.random.default_rng(0).permutation(400_000)
    grads = np.ones([400_000, 64], np.float32)
    ticks = []
    stop = threading.Event()

    def tick():
      while not stop.wait(0.001):
        ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    self.addCleanup(ticker.join)
    self.addCleanup(stop.set)
    for _ in range(20):
      begin = time.perf_counter()
      table.apply_gradients(ids, grads)
      quarter = (time.perf_counter() - begin) / 4
      if any(begin + quarter < t < begin + 3 * quarter for t in ticks):
        return
    self.fail("no other Python thread ran in the middle of a call")


if __name__ == "__main__":
  unittest.main()
