#!/bin/bash
# Prints the tests that sanitizers can judge, one label a line: every C++ test of the
# runtime but those that call TensorFlow beyond Abseil, which is not instrumented.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly runtime=//monolith/native_training/runtime/...
exec tools/bazel query --noshow_progress \
  "kind(cc_test, ${runtime}) except rdeps(${runtime}, @tensorflow//:protobuf)"
