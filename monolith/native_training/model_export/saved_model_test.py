"""An exported model answers as the trained one does."""

import glob
import os
import re
import shutil
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from absl.testing import absltest

from monolith.native_training import entry
from monolith.native_training.estimator import Estimator, RunnerConfig
from monolith.native_training.model_export.popularity import (
  USERS,
  Popularity,
  PopularityWithItems,
)
from monolith.native_training.training.checkpoints import (
  checkpoint,
  sound_checkpoint,
)
from monolith.native_training.training.checkpoints.checkpoint_errors import (
  MisfitError,
)

_THIS = "monolith.native_training.model_export.saved_model_test"
_SAVED_MODEL_CLI = "monolith/native_training/saved_model_cli"


class WidePopularity(Popularity):
  scale_shape = (1,)


def export_until_killed(model_dir: str) -> None:
  """Exports, but stops before the end and says so."""

  def wait(builder) -> None:
    del builder
    print("nearly done", flush=True)
    time.sleep(600)

  tf.compat.v1.saved_model.Builder.save = wait
  job = Estimator(Popularity.params(), RunnerConfig(model_dir=model_dir))
  job.export_saved_model()


class SavedModelTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.job = Estimator(
      Popularity.params(),
      RunnerConfig(
        model_dir=self.create_tempdir().full_path, save_checkpoints_steps=10
      ),
    )

  def _exports(self) -> list[str]:
    folder = os.path.join(self.job.model_dir, "exported_models")
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))

  def test_predictions_equal_the_trained_models(self):
    self.job.train()
    path = self.job.export_saved_model()
    self.assertEqual(self._exports(), [path])
    served = tf.saved_model.load(path).signatures["serving_default"]
    score = served(user=tf.constant(USERS))["score"].numpy()
    np.testing.assert_array_equal(score, self._predicted(self.job))

  def test_compression_changes_predictions_as_little_as_it_says(self):
    self.job.train()
    wanted = self._predicted(self.job)
    for compressor, tolerance in (
      (None, 2**-11),  # 16 bit floats
      (entry.FixedR8Compressor(2.0), 3 * 2.0 / 254),
      (entry.OneBitCompressor(), 1.0),
    ):

      class Compressed(Popularity):
        pass

      Compressed.compressor = compressor
      job = Estimator(
        Compressed.params().instantiate(), RunnerConfig(model_dir=self.job.model_dir)
      )
      served = tf.saved_model.load(job.export_saved_model())
      score = served.signatures["serving_default"](user=tf.constant(USERS))["score"]
      np.testing.assert_allclose(score, wanted, rtol=0, atol=tolerance)
      self.assertGreater(np.abs(score.numpy() - wanted).max(), 0)

  def test_loads_with_the_v1_loader(self):
    self.job.train()
    path = self.job.export_saved_model()
    # Elsewhere than where it was written.
    moved = os.path.join(self.create_tempdir().full_path, "moved")
    os.rename(path, moved)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
      model = tf.compat.v1.saved_model.load(session, [tf.saved_model.SERVING], moved)
      signature = model.signature_def["serving_default"]
      score = session.run(
        signature.outputs["score"].name, {signature.inputs["user"].name: USERS}
      )
    np.testing.assert_array_equal(score, self._predicted(self.job))

  def test_saved_model_cli_shows_and_runs_it(self):
    self.job.train()
    path = self.job.export_saved_model()

    def told(*arguments) -> str:
      folder, name = os.path.split(path)
      command = [_SAVED_MODEL_CLI, arguments[0], "--dir", name, *arguments[1:]]
      typed_in = {**os.environ, "BUILD_WORKING_DIRECTORY": folder}
      return subprocess.run(
        command, check=True, capture_output=True, text=True, env=typed_in
      ).stdout

    shown = told("show", "--tag_set", "serve", "--signature_def", "serving_default")
    self.assertIn("inputs['user']", shown)
    self.assertIn("outputs['score']", shown)
    ran = told(
      *("run", "--tag_set", "serve", "--signature_def", "serving_default"),
      *("--input_exprs", "user=[[7],[-12345]]"),
    )
    wanted = self._predicted(self.job)[7, 0]
    numbers = re.findall(r"\[ *(-?[\d.]+(?:e-?\d+)?) *\]", ran)
    np.testing.assert_allclose(np.float32(numbers), [wanted, 0], rtol=1e-5)

  def test_a_damaged_table_is_refused_by_name(self):
    self.job.train()
    path = self.job.export_saved_model()
    (rows,) = glob.glob(os.path.join(path, "assets", "*"))
    with open(rows, "r+b") as f:
      f.seek(-60, os.SEEK_END)
      f.write(b"?")
    with self.assertRaisesRegex(
      tf.errors.DataLossError, f"the exported table {rows} cannot be loaded: "
    ):
      tf.saved_model.load(path)

  def test_there_is_no_optimizer_state(self):
    self.job.train()
    path = self.job.export_saved_model()
    (rows,) = glob.glob(os.path.join(path, "assets", "*"))
    # A table without rows takes 2 to 3 KiB.
    self.assertLess(os.path.getsize(rows), 3072 + len(USERS) * (8 + 4 * 3))
    state = np.float32(0.1).tobytes()  # Of Adagrad, at first.
    with open(rows, "rb") as f:
      self.assertNotIn(state, f.read())

  def test_a_failed_export_leaves_nothing(self):
    self.job.train()
    self.job.export_saved_model()
    before = os.listdir(os.path.dirname(self._exports()[0]))
    for name in glob.glob(f"{self.job.latest_checkpoint()}.tables/rows-*"):
      with open(name, "r+b") as f:
        f.seek(300)
        f.write(b"????")
    with self.assertRaises(ValueError):
      self.job.export_saved_model(checkpoint_path=self.job.latest_checkpoint())
    self.assertEqual(os.listdir(os.path.dirname(self._exports()[0])), before)

  def _predicted(self, job, path=None) -> np.ndarray:
    predictions = job.predict(checkpoint_path=path)
    return np.stack([p["score"] for p, _ in zip(predictions, USERS)])  # noqa: B905

  def test_a_checkpoint_of_another_shape_is_refused(self):
    self.job.train()
    with self.assertRaisesRegex(ValueError, r"variable scale has shape \[\] there"):
      Estimator(
        WidePopularity.params().instantiate(),
        RunnerConfig(model_dir=self.job.model_dir),
      ).export_saved_model()

  def test_a_checkpoint_without_one_of_the_tables_is_refused(self):
    self.job.train(max_steps=5)
    job = Estimator(
      PopularityWithItems.params().instantiate(),
      RunnerConfig(model_dir=self.job.model_dir),
    )
    with self.assertRaisesRegex(
      MisfitError,
      "table things is in the model, but not in the files; table things is that of "
      "the features item$",
    ):
      job.export_saved_model()
    self.assertEqual(self._exports(), [])

  def test_what_is_damaged_is_not_exported(self):
    self.job.train(max_steps=5)
    self.job.train(max_steps=10)
    newest, older = checkpoint.checkpoints(self.job.model_dir)[::-1]
    (data,) = [f for f in checkpoint.dense_files(newest) if ".data" in f]
    rows = max(checkpoint.table_files(newest), key=os.path.getsize)
    for file in (rows, data):
      with open(file, "rb") as f:
        content = f.read()
      middle = len(content) // 2
      flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
      for damaged in (flipped, content[:middle], b"", None):
        if damaged is None:
          os.remove(file)
        else:
          with open(file, "wb") as f:
            f.write(damaged)
        with self.assertRaisesRegex(ValueError, file):
          self.job.export_saved_model(checkpoint_path=newest)
        with self.assertLogs("absl", "ERROR") as logs:
          path = self.job.export_saved_model()
        self.assertRegex(logs.output[0], f"{newest} is PASSED OVER")
        with open(file, "wb") as f:
          f.write(content)
        # The one before it.
        served = tf.saved_model.load(path).signatures["serving_default"]
        score = served(user=tf.constant(USERS))["score"].numpy()
        predicted = self.job.predict(checkpoint_path=older)
        wanted = [p["score"] for p, _ in zip(predicted, USERS)]  # noqa: B905
        np.testing.assert_array_equal(score, np.stack(wanted))

  def test_what_cannot_be_written_is_no_damaged_checkpoint(self):
    self.job.train(max_steps=5)
    self.job.train(max_steps=10)
    folder = self.create_tempdir().full_path
    self.enter_context(mock.patch.object(sound_checkpoint, "_PAUSES_SECS", (0.1,)))

    def occupy(assets: str) -> None:
      name = os.path.join(assets, "table-00000-of-00001.compact")
      os.makedirs(name, exist_ok=True)

    for makedirs, why in ((None, "No such file"), (occupy, "Is a directory")):
      with mock.patch.object(tf.io.gfile, "makedirs", side_effect=makedirs):
        with self.assertRaisesRegex(
          OSError, rf"ckpt-10 .*the export cannot be written: {folder}/.*table-.*{why}"
        ):
          self.job.export_saved_model(folder)
      self.assertEmpty(os.listdir(folder))

  def test_rows_of_another_save_are_not_exported(self):
    self.job.train(max_steps=5)
    self.job.train(max_steps=10)
    newest, older = checkpoint.checkpoints(self.job.model_dir)[::-1]
    files = [checkpoint.table_files(path) for path in (newest, older)]
    for to, of in zip(*files, strict=True):
      shutil.copy(of, to)
    with self.assertRaisesRegex(ValueError, f"{newest}.* is of save .* wants save"):
      self.job.export_saved_model(checkpoint_path=newest)

  def test_a_row_that_does_not_fit_is_not_exported(self):
    self.job.train(max_steps=5)

    class Wider(Popularity):
      dim = 4

    job = Estimator(
      Wider.params().instantiate(), RunnerConfig(model_dir=self.job.model_dir)
    )
    with self.assertRaisesRegex(ValueError, "table user has dim 3 in the file, but 4"):
      job.export_saved_model()

  def test_an_unknown_id_reads_zeros(self):
    self.job.train()
    served = tf.saved_model.load(self.job.export_saved_model())
    score = served.signatures["serving_default"](user=tf.constant([[-12345]], tf.int64))
    self.assertEqual(score["score"].numpy(), 0.0)

  def test_two_versions_in_one_process_are_apart(self):
    self.job.train(max_steps=5)
    first = tf.saved_model.load(self.job.export_saved_model())
    before = first.signatures["serving_default"](user=tf.constant(USERS))["score"]
    self.job.train(steps=20)
    second = tf.saved_model.load(self.job.export_saved_model())
    after = second.signatures["serving_default"](user=tf.constant(USERS))["score"]
    again = first.signatures["serving_default"](user=tf.constant(USERS))["score"]
    np.testing.assert_array_equal(before, again)
    self.assertGreater(float(tf.reduce_max(tf.abs(after - before))), 1e-3)

  def test_a_label_that_serving_lacks_is_named(self):
    class ReadsLabel(Popularity):
      def model_fn(self, features, mode):
        return super().model_fn(features, mode), features["label"]

    self.job.train(max_steps=1)
    config = RunnerConfig(model_dir=self.job.model_dir)
    with self.assertRaisesRegex(ValueError, "'label'.*only user.*PREDICT"):
      Estimator(ReadsLabel.params().instantiate(), config).export_saved_model()

  def test_what_cannot_be_exported_is_not_trained(self):
    class ReadsLabel(Popularity):
      def model_fn(self, features, mode):
        return super().model_fn(features, mode), features["label"]

    params = ReadsLabel.params()
    params.serving.export_when_saving = True
    config = RunnerConfig(model_dir=self.job.model_dir)
    job = Estimator(params.instantiate(), config)
    with self.assertRaisesRegex(ValueError, "'label'.*only user.*PREDICT"):
      job.train(max_steps=1)
    self.assertIsNone(job.latest_checkpoint())

  def test_nothing_is_exported_where_it_could_not_be_read(self):
    self.job.train()
    folder = os.path.join(self.create_tempdir().full_path, "run[1]")
    with self.assertRaisesRegex(ValueError, "export_dir_base: got .* patterns"):
      self.job.export_saved_model(folder)
    self.assertFalse(os.path.exists(folder))

  def test_every_export_removes_old_ones(self):
    job = Estimator(
      Popularity.params(),
      RunnerConfig(model_dir=self.job.model_dir, checkpoints_max_to_keep=2),
    )
    job.train(max_steps=5)
    paths = [job.export_saved_model() for _ in range(4)]
    self.assertEqual(self._exports(), paths[2:])

  def test_an_export_that_is_killed_leaves_no_version(self):
    self.job.train()
    code = f"import {_THIS} as test; test.export_until_killed({self.job.model_dir!r})"
    with subprocess.Popen(
      [sys.executable, "-c", code],
      stdout=subprocess.PIPE,
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as exporting:
      self.assertEqual(exporting.stdout.readline(), b"nearly done\n")
      exporting.kill()
    (left,) = self._exports()
    self.assertStartsWith(os.path.basename(left), ".tmp-")
    self.assertNotEmpty(os.listdir(os.path.join(left, "assets")))
    path = self.job.export_saved_model()
    served = tf.saved_model.load(path).signatures["serving_default"]
    score = served(user=tf.constant(USERS))["score"].numpy()
    np.testing.assert_array_equal(score, self._predicted(self.job))
    self.assertEqual(self._exports(), [path])


if __name__ == "__main__":
  absltest.main()
