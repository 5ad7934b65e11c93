import json
import os
from unittest import mock

import tensorflow as tf
from absl.testing import absltest

from monolith.native_training.data.kafka.stream_offsets import Partition
from monolith.native_training.training.processes.cluster import Cluster
from monolith.native_training.training.progress import progress
from monolith.native_training.training.progress.stream_metrics import StreamMetrics
from monolith.native_training.training.runner_config import RunnerConfig

_WORKER_1 = Cluster(workers=("a:1", "b:1"), ps=("c:1",), task_index=1)


class ProgressTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = self.create_tempdir().full_path
    self._path = os.path.join(self._folder, "progress.json")
    self._now = 1000.0
    self.enter_context(mock.patch.object(progress.time, "monotonic", lambda: self._now))
    self.enter_context(mock.patch.object(progress.sys.stderr, "isatty", lambda: False))

  def _reporter(self, cluster=_WORKER_1, on_report=None, streams=None, **settings):
    config = RunnerConfig(tf_config="", progress_file=self._path, **settings)
    with tf.Graph().as_default():
      return progress.ProgressReporter(config, cluster, 100, on_report, streams)

  def _read(self) -> dict:
    with open(self._path) as file:
      return json.load(file)

  def test_training_outlives_a_file_that_cannot_be_written(self):
    reporter = self._reporter()
    full = OSError(28, "No space left on device")
    with (
      mock.patch.object(progress.os, "replace", side_effect=full),
      self.assertLogs("absl", "ERROR") as logs,
    ):
      for step in (1, 2, 3):
        self._now += 5
        reporter.step_done(step, 0.5, 1, None)
    self.assertLen(logs.output, 1)
    self.assertRegex(logs.output[0], f"{self._path}.*No space left")
    self._now += 5
    reporter.step_done(4, 0.5, 1, None)
    self.assertEqual(self._read()["step"], 4)

  def test_the_file_follows_training_to_its_end(self):
    reporter = self._reporter(log_step_count_steps=2)
    reporter.step_done(7, 0.5, 512, None)
    self.assertEqual(
      self._read(),
      {
        "role": "worker",
        "index": 1,
        "state": "training",
        "step": 7,
        "loss": 0.5,
        "examples": 512,
        "batches": 1,
        "total_loss": 256.0,
      },
    )
    self._now += 2
    reporter.step_done(9, 0.25, 512, None)
    content = self._read()
    self.assertEqual((content["step"], content["examples"]), (9, 1024))
    self.assertEqual(content["examples_per_second"], 512.0)
    reporter.saving()
    self.assertEqual(self._read()["state"], "saving")
    reporter.tables(9, {"mov": (1664, 4096), "uid": (943, 2048)})
    reporter.finished(9)
    content = self._read()
    self.assertEqual(content["state"], "done")
    self.assertEqual(content["tables"], {"mov": 1664, "uid": 943})
    self.assertEqual(content["table_bytes"], {"mov": 4096, "uid": 2048})

  def test_steps_within_a_second_are_written_and_reported_together(self):
    reported = []
    reporter = self._reporter(on_report=reported.append)
    for step in range(1, 12):
      reporter.step_done(step, 1.0, 10, None)
      self._now += 0.25
    self.assertEqual(reported, [10, 50, 90])
    self.assertEqual(self._read()["examples"], 90)
    reporter.finished(11)
    self.assertEqual(self._read()["examples"], 110)

  def test_the_last_loss_is_in_the_file_at_the_end(self):
    reporter = self._reporter()
    for step, loss in ((1, 3.0), (2, 2.0), (3, 1.0)):
      reporter.step_done(step, loss, 10, None)
    reporter.finished(3)
    self.assertEqual(self._read()["loss"], 1.0)

  def test_readers_never_see_part_of_a_file(self):
    reporter = self._reporter()
    reporter.step_done(1, 1.0, 10, None)
    with open(self._path) as opened_before:
      reporter.finished(2)
      self.assertEqual(json.load(opened_before)["step"], 1)
    self.assertEqual(os.listdir(self._folder), ["progress.json"])

  def test_loss_and_speed_are_logged_without_being_asked_for(self):
    reporter = self._reporter(log_step_count_steps=2)
    with self.assertLogs("absl", "INFO") as logs:
      for step in range(1, 6):
        self._now += 0.5
        reporter.step_done(step, 1 / step, 10, None)
      reporter.finished(5)
    self.assertEqual(
      [record.getMessage() for record in logs.records],
      [
        "step 2: loss 0.5000, 2 steps/s, 20 examples/s",
        "step 4: loss 0.2500, 2 steps/s, 20 examples/s",
        "trained on 50 examples, to step 5, loss 0.2000",
      ],
    )

  def test_steps_that_take_long_are_logged_every_minute(self):
    reporter = self._reporter(log_step_count_steps=100)
    with self.assertLogs("absl", "INFO") as logs:
      for step in range(1, 7):
        self._now += 20
        reporter.step_done(step, 1 / step, 10, None)
    self.assertEqual(
      [record.getMessage()[:19] for record in logs.records],
      ["step 3: loss 0.3333", "step 6: loss 0.1667"],
    )

  def test_lag_is_logged_every_minute_while_nothing_comes(self):
    stream = mock.Mock(bad_messages=0, deleted_messages=0)
    stream.lags.return_value = {Partition("g", "films", 1): 7}
    reporter = self._reporter(streams=StreamMetrics([stream]))
    with self.assertLogs("absl", "INFO") as logs:
      reporter.step_done(1, 0.5, 10, None)
      for _ in range(7):
        self._now += 20
        reporter.idle(1)
    self.assertEqual(
      [record.getMessage() for record in logs.records],
      [
        "step 1: loss 0.5000, 0 steps/s, 0 examples/s, lag 7 (1: 7)",
        "step 1: waiting, lag 7 (1: 7)",
      ],
    )

  def test_without_a_path_nothing_is_written(self):
    self._path = ""
    reporter = self._reporter()
    reporter.step_done(1, 1.0, 10, None)
    reporter.finished(1)
    self.assertEmpty(os.listdir(self._folder))

  def _curves(self, folder: str) -> dict[str, dict[int, float]]:
    curves = {}
    for path in tf.io.gfile.glob(f"{folder}/events.*"):
      for event in tf.compat.v1.train.summary_iterator(path):
        for value in event.summary.value:
          curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves

  def test_the_chief_draws_loss_speed_and_tables(self):
    folder = self.create_tempdir().full_path
    reporter = self._reporter(Cluster(), model_dir=folder, save_summary_steps=2)
    wanted = []
    for step in range(1, 5):
      wanted.append(reporter.wants_summary())
      self._now += 0.5
      reporter.step_done(step, step / 4, 10, None)
    reporter.tables(4, {"mov": (3, 100)})
    reporter.finished(4)
    self.assertEqual(wanted, [False, True, False, True])
    self.assertEqual(
      self._curves(folder),
      {
        "loss": {2: 0.5, 4: 1.0},
        "steps_per_sec": {2: 2.0, 4: 2.0},
        "examples_per_sec": {2: 20.0, 4: 20.0},
        "tables/mov/rows": {4: 3.0},
      },
    )

  def test_the_models_own_summaries_are_kept(self):
    folder = self.create_tempdir().full_path
    reporter = self._reporter(Cluster(), model_dir=folder, save_summary_steps=1)
    own = tf.compat.v1.Summary(
      value=[tf.compat.v1.Summary.Value(tag="mine", simple_value=2)]
    )
    reporter.step_done(5, 1.0, 10, own.SerializeToString())
    reporter.finished(5)
    self.assertEqual(self._curves(folder)["mine"], {5: 2.0})

  def test_every_worker_draws_its_own_streams(self):
    folder = self.create_tempdir().full_path
    stream = mock.Mock(bad_messages=2, deleted_messages=0)
    stream.lags.return_value = {Partition("g", "films", 1): 7}
    streams = StreamMetrics([stream])
    reporter = self._reporter(streams=streams, model_dir=folder, save_summary_steps=1)
    reporter.idle(0)
    reporter.step_done(1, 1.0, 10, None)
    reporter.finished(1)
    self.assertEqual(os.listdir(folder), ["worker-1"])
    curves = self._curves(f"{folder}/worker-1")
    self.assertEqual(curves["stream/lag/films/1"], {1: 7.0})
    self.assertEqual(curves["stream/bad_messages"], {1: 2.0})
    self.assertNotIn("loss", curves)

  def test_other_workers_draw_nothing(self):
    folder = self.create_tempdir().full_path
    reporter = self._reporter(model_dir=folder, save_summary_steps=1)
    self.assertFalse(reporter.wants_summary())
    reporter.step_done(1, 1.0, 10, None)
    reporter.finished(1)
    self.assertEmpty(os.listdir(folder))


if __name__ == "__main__":
  absltest.main()
