"""What a worker reports of itself, for Prometheus to fetch over HTTP."""

import threading
from collections.abc import Iterator

import prometheus_client
from prometheus_client.core import (
  CounterMetricFamily,
  GaugeMetricFamily,
  HistogramMetricFamily,
  Metric,
)
from prometheus_client.registry import Collector

from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.progress.stream_metrics import (
  DELAY_BUCKETS,
  StreamMetrics,
)


class MetricsEndpoint(Collector):
  """Serves `/metrics` until it is closed.

  Args:
    host: address to listen at.
    port: of it.
    streams: metrics of the streams, if the worker reads any.

  Raises:
    OSError: the port cannot be had.
  """

  def __init__(self, host: str, port: int, streams: StreamMetrics | None = None):
    self._streams = streams
    self._lock = threading.Lock()
    self._values: dict[str, float] = {}
    self._rows: dict[str, int] = {}
    registry = prometheus_client.CollectorRegistry()
    registry.register(self)
    try:
      self._server, self._thread = prometheus_client.start_http_server(
        port, host, registry
      )
    except OSError as error:
      raise OSError(
        f"--metrics_port={port}: cannot listen at {host}:{port}: {error.strerror}; "
        "choose another, or 0 for none"
      ) from None
    progress_log.info("metrics are at http://%s:%d/metrics", host, port)

  def update(self, **values: float) -> None:
    """Sets `examples`, `batches`, `global_step`, `loss`."""
    with self._lock:
      self._values.update(values)

  def tables(self, rows: dict[str, int]) -> None:
    """Sets the tables' rows."""
    with self._lock:
      self._rows = dict(rows)

  def close(self) -> None:
    self._server.shutdown()
    self._server.server_close()
    self._thread.join()

  def collect(self) -> Iterator[Metric]:
    """What Prometheus gets."""
    with self._lock:
      values, rows = dict(self._values), dict(self._rows)
    for name, kind, text in (
      ("examples", CounterMetricFamily, "Examples this worker has trained on."),
      ("batches", CounterMetricFamily, "Batches this worker has trained on."),
      ("global_step", GaugeMetricFamily, "Steps of all workers."),
      ("loss", GaugeMetricFamily, "Of this worker's last batch."),
    ):
      if name in values:
        yield kind(f"monolith_{name}", text, value=values[name])
    table_rows = GaugeMetricFamily(
      "monolith_table_rows", "Rows when last saved.", labels=["table"]
    )
    for table, count in rows.items():
      table_rows.add_metric([table], count)
    yield table_rows
    if self._streams:
      yield from self._of_streams(self._streams)

  def _of_streams(self, streams: StreamMetrics) -> Iterator[Metric]:
    # A step that waits for a server keeps the thread that trains from looking.
    streams.look()
    lag = GaugeMetricFamily(
      "monolith_stream_lag_messages",
      "Messages of this worker's partitions that are still to be trained on.",
      labels=["group", "topic", "partition"],
    )
    for (group, topic, partition), messages in streams.lags.items():
      lag.add_metric([group, topic, str(partition)], messages)
    yield lag
    yield CounterMetricFamily(
      "monolith_stream_bad_messages",
      "Messages that could not be parsed.",
      value=streams.bad_messages,
    )
    yield CounterMetricFamily(
      "monolith_stream_deleted_messages",
      "Messages that brokers deleted before they were trained on.",
      value=streams.deleted_messages,
    )
    counts = streams.delay_counts.cumsum().tolist()
    ends = [*map(str, DELAY_BUCKETS), "+Inf"]
    yield HistogramMetricFamily(
      "monolith_event_to_trained_seconds",
      "From an example's event to its training.",
      buckets=list(zip(ends, counts, strict=True)),
      sum_value=streams.delay_sum,
    )
