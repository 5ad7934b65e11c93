"""TensorFlow's `saved_model_cli` for models that Monolith has exported.

bazel run //monolith/native_training:saved_model_cli -- show --dir MODEL --all
"""

from tensorflow.python.tools import saved_model_cli

from monolith.native_training import load_ops

if __name__ == "__main__":
  load_ops()
  saved_model_cli.main()
