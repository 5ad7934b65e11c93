"""What the server tells Prometheus of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import prometheus_client
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monolith.serving.versions.served_model import ServedModel

_LATENCY_BUCKETS = (
  *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0),
)
_BATCH_BUCKETS = tuple(float(2**power) for power in range(0, 15))


class Metrics(Collector):
  """Counts requests and batches, and reads the versions when it is asked.

  Args:
    models: what is served, by name.
  """

  def __init__(self, models: dict[str, ServedModel]):
    self._models = models
    self.waiting: Callable[[], int] = lambda: 0
    self.registry = prometheus_client.CollectorRegistry()
    self.registry.register(self)
    prometheus_client.ProcessCollector(registry=self.registry)
    self._requests = prometheus_client.Counter(
      "monolith_serving_requests",
      "Requests that were answered, by the gRPC code of the answer.",
      ["model", "method", "protocol", "code"],
      registry=self.registry,
    )
    self._latency = prometheus_client.Histogram(
      "monolith_serving_request_seconds",
      "From a request that has arrived until its answer is written.",
      ["model", "method", "protocol"],
      buckets=_LATENCY_BUCKETS,
      registry=self.registry,
    )
    self._in_flight = prometheus_client.Gauge(
      "monolith_serving_requests_in_flight",
      "Requests that are being answered, until their answers are written.",
      registry=self.registry,
    )
    self._batches = prometheus_client.Histogram(
      "monolith_serving_batch_examples",
      "Examples of a batch that was run.",
      buckets=_BATCH_BUCKETS,
      registry=self.registry,
    )
    self._children: dict[tuple, tuple] = {}

  def begun(self) -> None:
    """A request has come."""
    self._in_flight.inc()

  def ended(
    self, model: str, method: str, protocol: str, code: str, seconds: float
  ) -> None:
    """A request is over."""
    self._in_flight.dec()
    # Names that clients make up must not fill the memory.
    key = (model if model in self._models else "", method, protocol, code)
    children = self._children.get(key)
    if children is None:
      children = (self._requests.labels(*key), self._latency.labels(*key[:3]))
      self._children[key] = children
    requests, latency = children
    requests.inc()
    latency.observe(seconds)

  def batch(self, examples: int) -> None:
    """A batch is run."""
    self._batches.observe(examples)

  def text(self) -> bytes:
    """All metrics in Prometheus's format."""
    return prometheus_client.generate_latest(self.registry)

  def collect(self) -> Iterator[Metric]:
    """What is read when it is asked for."""
    states = GaugeMetricFamily(
      "monolith_serving_version_state",
      "State of a version: 10 start, 20 loading, 30 available, 40 unloading, 50 end.",
      labels=["model", "version"],
    )
    for name, model in self._models.items():
      for version in model.versions.values():
        states.add_metric([name, str(version.number)], version.state)
    yield states
    yield GaugeMetricFamily(
      "monolith_serving_waiting_examples",
      "Examples that wait for their batch.",
      value=self.waiting(),
    )
