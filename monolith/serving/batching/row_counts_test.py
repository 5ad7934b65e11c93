"""Requests get their own results, whatever their contents do to the number of rows."""

from __future__ import annotations

import asyncio
import os
from unittest import mock

import numpy as np
from absl.testing import absltest

from monolith.serving.batching.batcher_test_case import BatcherTestCase
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.warm_up import warm_up
from monolith.serving.testing.exported_model import export_counter


class RowCountsTest(BatcherTestCase):
  """The model counts from 0, and has as many rows as its request says."""

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.base_path = os.path.join(absltest.TEST_TMPDIR.value, "counter")
    export_counter(cls.base_path)

  def setUp(self):
    super().setUp()
    path = os.path.join(self.base_path, "1")
    self.counter = Servable("counter", 1, path)
    self.addCleanup(self.counter.close)
    self.signature = self.counter.signature("")

  def _answers(self, *requests: list[int]) -> list[list[float]]:
    """What requests that come together get."""

    async def scenario(batcher):
      return await asyncio.gather(
        *(
          batcher.run(self.counter, self.signature, {"count": np.array(counts)})
          for counts in requests
        )
      )

    return [outputs["numbers"].tolist() for outputs in self.run_scenario(scenario)]

  def _sizes(self, *requests: list[int]) -> list[int]:
    """Examples of the runs that answer requests."""
    with mock.patch.object(self.counter, "run", wraps=self.counter.run) as run:
      self._answers(*requests)
    return [len(call.args[1]["count"]) for call in run.call_args_list]

  def test_warm_up_finds_out(self):
    with self.assertLogs("absl", "WARNING") as logs:
      warm_up(self.counter, [1, 2, 64])
    self.assertLen(logs.output, 1)
    self.assertRegex(
      logs.output[0],
      r"requests to serving_default of version 1 of counter are not run together: "
      r"output 'numbers' had shape \[0\] for 1 examples",
    )
    # Together they would have as many rows as examples.
    requests = [[1], [0, 2], [1], [1]]
    self.assertEqual(self._answers(*requests), [[0], [0, 1], [0], [0]])
    self.assertEqual(self._sizes(*requests), [1, 2, 1, 1])

  def test_warm_up_finds_out_what_zeros_do_not_show(self):
    run = self.counter.run

    def counts_from_one(signature, feeds):
      return run(signature, {"count": feeds["count"] + 1})

    with mock.patch.object(self.counter, "run", counts_from_one):
      warm_up(self.counter, [1, 2, 64])
    self.assertIs(self.counter.by_example(self.signature), False)

  def test_what_has_not_run_yet_runs_alone_first(self):
    self.assertEqual(self._answers([2], [0], [1]), [[0, 1], [], [0]])

  def test_what_is_found_out_later_holds_for_good(self):
    self.assertEqual(self._sizes([1], [1], [1]), [1, 2])
    with self.assertLogs("absl", "WARNING") as logs:
      self.assertEqual(self._answers([2], [3]), [[0, 1], [0, 1, 2]])
    self.assertLen(logs.output, 1)
    with self.assertNoLogs("absl", "WARNING"):
      self.assertEqual(self._sizes([1], [1], [5]), [1, 1, 1])


if __name__ == "__main__":
  absltest.main()
