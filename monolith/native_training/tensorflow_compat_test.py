"""The order of imports decides which Keras a process gets: each case is a process."""

import os
import subprocess
import sys

import tensorflow as tf
from absl.testing import absltest, parameterized

from monolith.native_training import tensorflow_compat


def _run(program: str, **environment: str) -> subprocess.CompletedProcess:
  """Runs a Python program that finds the modules this process finds."""
  env = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
  env.update(
    environment,
    PYTHONPATH=os.pathsep.join(path for path in sys.path if path),
    TF_CPP_MIN_LOG_LEVEL="3",
  )
  return subprocess.run(
    [sys.executable, "-c", program],
    env=env,
    capture_output=True,
    text=True,
    check=False,
  )


_REPORT = """
import tensorflow as tf
from tensorflow.keras import layers
with tf.Graph().as_default():
  layers.Dense(1)(tf.compat.v1.placeholder(tf.float32, [None, 2]))
print('FOUND', layers.Dense.__module__, tf.keras.Model.__module__,
      tf.losses.mean_squared_error.__module__)
modes = tf.estimator.ModeKeys
print(modes.TRAIN, modes.EVAL, modes.PREDICT)
tf.estimator.export.ServingInputReceiver({}, {'x': tf.constant(1)})
"""


class LogTest(absltest.TestCase):
  def test_tensorflow_is_quiet_unless_the_user_asks_for_more(self):
    program = (
      "import os; {}; import monolith; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    for before, wanted in (
      ("del os.environ['TF_CPP_MIN_LOG_LEVEL']", "2"),
      ("os.environ['TF_CPP_MIN_LOG_LEVEL'] = '0'", "0"),
    ):
      found = _run(program.format(before))
      self.assertEqual(found.stdout.strip(), wanted, found.stderr)


class ImportOrderTest(parameterized.TestCase):
  def _assert_adapted(self, result: subprocess.CompletedProcess) -> None:
    self.assertEqual(result.returncode, 0, result.stderr)
    *_, found, modes = result.stdout.splitlines()
    self.assertStartsWith(found, "FOUND")
    for module in found.split()[1:]:
      self.assertStartsWith(module, "tf_keras.")
    self.assertEqual(modes, "train eval infer")

  @parameterized.parameters(
    "import tensorflow, monolith",
    "import keras, tensorflow, monolith",
    "import monolith.native_training.native_model",
    "import monolith, tensorflow, monolith.native_training.hash_table_ops",
    "from tensorflow import keras; import monolith",
  )
  def test_keras_is_keras_2_and_tf_estimator_is_there(self, imports):
    self._assert_adapted(_run(imports + _REPORT))

  def test_keras_2_in_use_before_is_fine(self):
    use = "from tensorflow.keras import layers\nimport monolith"
    self._assert_adapted(_run(use + _REPORT, TF_USE_LEGACY_KERAS="1"))

  def test_an_environment_that_asks_for_keras_3_is_overruled(self):
    imports = "import monolith.native_training.tensorflow_compat"
    self._assert_adapted(_run(imports + _REPORT, TF_USE_LEGACY_KERAS="0"))

  @parameterized.parameters(
    "import tensorflow as tf; tf.keras.layers.Dense",
    "from tensorflow.keras import layers",
  )
  def test_keras_3_in_use_before_is_an_error_that_says_what_to_do(self, use):
    result = _run(f"{use}\nimport monolith")
    self.assertNotEqual(result.returncode, 0)
    error = result.stderr.splitlines()[-1]
    self.assertStartsWith(error, "ImportError: monolith needs Keras 2")
    self.assertIn("Import monolith before", error)
    self.assertIn("TF_USE_LEGACY_KERAS=1", error)

  def test_importing_monolith_alone_does_not_load_tensorflow(self):
    result = _run("import sys, monolith; print('tensorflow' in sys.modules)")
    self.assertEqual(result.stdout.strip(), "False", result.stderr)

  def test_a_tf_estimator_that_tensorflow_has_is_left_alone(self):
    result = _run(
      "import types, tensorflow as tf\n"
      "theirs = types.SimpleNamespace(ServingInputReceiver=object)\n"
      "tf.estimator = types.SimpleNamespace(export=theirs)\n"
      "import monolith\n"
      "print(tf.estimator.export is theirs)"
    )
    self.assertEqual(result.stdout.strip(), "True", result.stderr)


class ServingInputReceiverTest(absltest.TestCase):
  def test_keeps_features_and_receivers(self):
    ids, ragged = tf.constant([[1]]), tf.ragged.constant([[1]])
    receiver = tf.estimator.export.ServingInputReceiver({"f": ragged}, {"ids": ids})
    self.assertIs(receiver.features["f"], ragged)
    self.assertIs(receiver.receiver_tensors["ids"], ids)

  def test_a_single_tensor_is_named_input(self):
    ids = tf.constant([[1]])
    receiver = tensorflow_compat.ServingInputReceiver({"f": ids}, ids)
    self.assertEqual(list(receiver.receiver_tensors), ["input"])

  def test_no_receivers_is_an_error(self):
    for receivers in (None, {}, [tf.constant(1)]):
      with self.assertRaisesRegex(ValueError, "receiver_tensors: got"):
        tensorflow_compat.ServingInputReceiver({}, receivers)


if __name__ == "__main__":
  absltest.main()
