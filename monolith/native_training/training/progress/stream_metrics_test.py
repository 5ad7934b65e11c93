import urllib.request
from unittest import mock

import numpy as np
from absl.testing import absltest
from prometheus_client.parser import text_string_to_metric_families

from monolith.native_training.data.kafka.stream_offsets import Partition
from monolith.native_training.local_runner import local_cluster
from monolith.native_training.training.progress import stream_metrics
from monolith.native_training.training.progress.metrics_endpoint import MetricsEndpoint
from monolith.native_training.training.progress.stream_metrics import StreamMetrics

_NOW = 1_700_000_000


class _Stream:
  bad_messages = 2
  deleted_messages = 0

  def lags(self):
    return {Partition("g", "t", 0): 5, Partition("g", "t", 1): 1200}


class StreamMetricsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.metrics = StreamMetrics([_Stream()])
    clock = mock.Mock(time=lambda: _NOW)
    self.enter_context(mock.patch.object(stream_metrics, "time", clock))

  def _step(self, *secs_ago: float) -> None:
    self.metrics.step_done(np.array([round((_NOW - s) * 1000) for s in secs_ago]))

  def test_values(self):
    self.metrics.update()
    self.assertEqual(
      self.metrics.values(), {"lag": 1205, "bad_messages": 2, "deleted_messages": 0}
    )
    self._step(0.3, 0.3)
    self._step(0.3, 90.0)
    self.metrics.update()
    values = self.metrics.values()
    self.assertAlmostEqual(values["event_to_trained_p50_secs"], 0.3, places=4)
    # Of four numbers, 97% of the way from the third to the last.
    self.assertAlmostEqual(values["event_to_trained_p99_secs"], 87.309, places=4)
    self.assertEqual(
      self.metrics.text(),
      "lag 1,205 (1: 1,200, 0: 5), event to trained 300 ms (p99 87 s), 2 bad messages",
    )
    # Only the last second counts.
    self.metrics.update()
    self.assertNotIn("event_to_trained_p50_secs", self.metrics.values())

  def _lag_text(self, lags: dict[tuple[str, int], int]) -> str:
    lags = {Partition("g", *key): lag for key, lag in lags.items()}
    with mock.patch.object(_Stream, "lags", lambda self: lags):
      self.metrics.look()
    return self.metrics.text().removesuffix(", 2 bad messages")

  def test_partitions_with_most_lag_are_told(self):
    self.assertEqual(self._lag_text({}), "lag 0")
    self.assertEqual(self._lag_text({("t", 0): 0, ("t", 1): 0}), "lag 0")
    self.assertEqual(self._lag_text({("t", 0): 0, ("t", 1): 7}), "lag 7 (1: 7)")
    self.assertEqual(
      self._lag_text({("t", 0): 34, ("t", 1): 0, ("s", 2): 1200}),
      "lag 1,234 (s 2: 1,200, t 0: 34)",
    )
    self.assertEqual(
      self._lag_text({("t", i): 10 + i for i in range(10)}),
      "lag 145 (9: 19, 8: 18, 7: 17, 6: 16, 5: 15, 4: 14, 3: 13, 2: 12, 2 others: 21)",
    )

  def test_deleted_messages_are_told_where_there_are_any(self):
    self.metrics.update()
    self.assertNotIn("deleted", self.metrics.text())
    with mock.patch.object(_Stream, "deleted_messages", 3000):
      self.metrics.update()
    self.assertEndsWith(self.metrics.text(), "3,000 messages deleted before training")
    self.assertEqual(self.metrics.values()["deleted_messages"], 3000)

  def test_prometheus_gets_them(self):
    (port,) = local_cluster.free_ports(1)
    endpoint = MetricsEndpoint("127.0.0.1", port, self.metrics)
    self._step(0.3, 0.3, 90.0)
    self.metrics.update()
    endpoint.update(examples=3, global_step=7)
    endpoint.tables({"uid": 4})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
      text = response.read().decode()
    got = {
      (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
      for family in text_string_to_metric_families(text)
      for sample in family.samples
    }
    self.assertContainsSubset(
      {
        ("monolith_examples_total",): 3,
        ("monolith_global_step",): 7,
        ("monolith_table_rows", "uid"): 4,
        ("monolith_stream_lag_messages", "g", "1", "t"): 1200,
        ("monolith_stream_bad_messages_total",): 2,
        ("monolith_stream_deleted_messages_total",): 0,
        ("monolith_event_to_trained_seconds_bucket", "0.2"): 0,
        ("monolith_event_to_trained_seconds_bucket", "0.5"): 2,
        ("monolith_event_to_trained_seconds_bucket", "300"): 3,
        ("monolith_event_to_trained_seconds_count",): 3,
      },
      got,
    )
    # Also while no step comes to its end.
    lags = {Partition("g", "t", 1): 1500}
    with mock.patch.object(_Stream, "lags", lambda self: lags):
      with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        self.assertRegex(response.read().decode(), r'lag_messages{.*"1".*} 1500')
    with self.assertRaisesRegex(OSError, f"metrics_port={port}: cannot listen"):
      MetricsEndpoint("127.0.0.1", port)
    endpoint.close()


if __name__ == "__main__":
  absltest.main()
