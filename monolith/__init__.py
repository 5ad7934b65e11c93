"""Monolith: collisionless embedding tables and real-time training.

The model API works with graph-mode Keras 2. Importing this package therefore
asks TensorFlow for it (`TF_USE_LEGACY_KERAS=1`), which has to happen before
`tf.keras` is first used.
"""

import importlib.util
import os
import sys


def _select_keras_2() -> None:
  """Makes `tf.keras` Keras 2, which TensorFlow decides once, at its first use."""
  tensorflow = sys.modules.get("tensorflow")
  # While it is unused, `tf.keras` is a lazy loader, which has no version of its own.
  keras = vars(tensorflow).get("keras") if tensorflow else None
  version = str(vars(keras).get("__version__", "")) if keras else ""
  if version.startswith("3."):
    raise ImportError(
      "monolith needs Keras 2, but tf.keras already is Keras 3 in this process. "
      "Import monolith before the first use of tf.keras, or start Python with "
      "TF_USE_LEGACY_KERAS=1 in its environment."
    )
  os.environ["TF_USE_LEGACY_KERAS"] = "1"
  # `from tensorflow.keras import ...` searches folders that TensorFlow chose when it
  # was imported, by the environment variable as it was then.
  tf_keras = importlib.util.find_spec("tf_keras") if tensorflow else None
  if tf_keras and tf_keras.origin:
    folder = os.path.join(os.path.dirname(tf_keras.origin), "api", "_v2")
    if folder not in tensorflow.__path__:
      tensorflow.__path__.insert(0, folder)


def _quiet_tensorflow() -> None:
  """Hides what TensorFlow's C++ tells of itself, unless the user has set a level, but
  for some lines while it is imported, which no level hides.

  Its warnings too: one is 50 lines long, of any graph with a ragged data set.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


_select_keras_2()
_quiet_tensorflow()

# Without TensorFlow loaded there is nothing to adapt yet; the modules that load it do.
if "tensorflow" in sys.modules:
  import monolith.native_training.tensorflow_compat  # noqa: F401
