"""TensorFlow's `saved_model_cli` for models that Monolith has exported.

bazel run //monolith/native_training:saved_model_cli -- show --dir MODEL --all
"""

import os

from tensorflow.python.tools import saved_model_cli

from monolith.native_training import load_ops
from monolith.native_training.local_files.user_path import user_path

if __name__ == "__main__":
  os.chdir(user_path("."))  # From where the paths of its arguments count.
  load_ops()
  saved_model_cli.main()
