"""Looks into checkpoints: what is in them, whether they are sound, their rows.

bazel run //monolith/native_training:checkpoint -- inspect MODEL_DIR
"""

import os
import sys

# What goes wrong is told in one line; TensorFlow's C++ would add its own, of missing
# graphics cards for example.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from monolith.native_training.checkpoint_tool import command_line  # noqa: E402

if __name__ == "__main__":
  sys.exit(command_line.run())
