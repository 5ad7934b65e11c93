"""Training of recommendation models on TensorFlow."""


def load_ops() -> None:
  """Makes Monolith's ops known to TensorFlow: before an exported model is loaded.

  Thread-safe; what is loaded already stays.

  Raises:
    ImportError: the library is missing, or was built for another TensorFlow.
  """
  # Whoever imports something else from this package may not want TensorFlow.
  from monolith.native_training.runtime.ops import loader

  loader.ops()
