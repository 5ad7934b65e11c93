"""What a worker trains with: its data, the model, and the step, as one graph."""

from typing import Any

import tensorflow as tf
from absl import logging

from monolith.native_training.native_model import MonolithModel
from monolith.native_training.progress_log import progress_log
from monolith.native_training.training.graph import model_graph, train_step
from monolith.native_training.training.positions.data_positions import DataPositions
from monolith.native_training.training.positions.stream_positions import StreamPositions
from monolith.native_training.training.positions.timeline import Timeline
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.processes.stop_request import StopRequest
from monolith.native_training.training.progress.stream_metrics import StreamMetrics
from monolith.native_training.training.runner_config import RunnerConfig


class TrainingGraph:
  """A worker's part of training, built into the default graph.

  Args:
    stop: ends waiting for the brokers of streams.

  Attributes:
    global_step: the variable.
    timeline: of the model.
    positions: of the workers in their data.
    streams: how far those are trained on that the data come from, and
    stream_metrics: how current that is; both None where the data come from elsewhere.
    embedding: the model's tables.
    fetches: of a step: `train`, `step` (the global step after it), `loss`, `examples`
      (how many) and, of streams, `positions` and `event_time_ms`.
    summary: the model's own summaries merged; None without any.
  """

  def __init__(
    self,
    model: MonolithModel,
    config: RunnerConfig,
    cluster: Cluster,
    stop: StopRequest,
  ):
    self._cluster = cluster
    self.global_step = tf.compat.v1.train.get_or_create_global_step()
    mode = tf.estimator.ModeKeys.TRAIN
    self.timeline = Timeline(cluster)
    self.positions = DataPositions(cluster, self.timeline)
    self._input = model_graph.read_batch(model, mode, cluster, self.positions.skip)
    self.streams = self.stream_metrics = None
    if streams := self._input.streams:
      self.stream_metrics = StreamMetrics(streams)
      self.streams = StreamPositions(
        cluster,
        self.timeline,
        streams,
        self._input.may_end_early,
        stop.leave_if_made,
      )
    graph = model_graph.build(
      model,
      self._input.features,
      mode,
      cluster.ps_devices,
      config.model_name,
      config.admission_capacity,
    )
    train_op, step = train_step.train_op(model, graph, self._count_batch)
    self.embedding = graph.embedding
    self.summary = tf.compat.v1.summary.merge_all()
    self.fetches = {
      "train": train_op,
      "step": step,
      "loss": graph.spec.loss,
      "examples": graph.batch_size(),
    }
    if marks := self._input.marks:
      self.fetches["positions"] = marks.positions
      if marks.event_time_ms is not None:
        self.fetches["event_time_ms"] = marks.event_time_ms

  def _count_batch(self) -> list[tf.Operation]:
    """Ops that note the batch as trained on, where the model was not restored since."""
    return [self.positions.count_batch(self.timeline.is_present())]

  def begin_data(self, session: tf.compat.v1.Session) -> dict[tf.Tensor, Any]:
    """Has the data begin where training is; what to feed for that."""
    self.timeline.join(session)
    feed = self.positions.begin(session)
    if self.streams:
      self.streams.begin(session)
    elif self.positions.current:
      progress_log.info(
        "the data go on behind batch %s, which is where training was",
        f"{self.positions.current:,}",
      )
    return feed

  def step_done(self, session: tf.compat.v1.Session, done: dict[str, Any]) -> None:
    """Notes a step as done.

    Args:
      session: in which it was done.
      done: what was fetched.
    """
    self.positions.step_done()
    if self.streams:
      self.streams.step_done(session, done["positions"])
      self.stream_metrics.step_done(done.get("event_time_ms"))

  def are_data_over(self, session: tf.compat.v1.Session) -> bool:
    """Whether the data are over, where a step has come to their end: streams may only
    have nothing at the moment."""
    if self.streams:
      is_more_to_come = self.streams.end_round(session)
      self.streams.refresh(session)
      return not is_more_to_come
    if not self.positions.current:
      logging.warning(
        "this worker, %d of %d, got no batch and trained on nothing; its shard of the "
        "data may be empty, or smaller than a batch that is dropped by drop_remainder",
        self._cluster.worker_index,
        self._cluster.num_workers,
      )
    return True

  def read_on(self, session: tf.compat.v1.Session) -> None:
    """Has streams read on that had nothing."""
    self.streams.begin_round()
    session.run(self._input.initializer)

  def end_data(self, session: tf.compat.v1.Session) -> None:
    """Notes how far the data are trained on, when no step follows."""
    if self.streams:
      self.streams.write(session)

  def close(self) -> None:
    """Leaves streams: others of their group need not wait for this worker."""
    if self.streams:
      self.streams.close()
