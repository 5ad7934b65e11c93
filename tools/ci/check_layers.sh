#!/bin/bash
# Fails when the C++ core depends on TensorFlow, which only runtime/ops may.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly runtime=//monolith/native_training/runtime
# All folders beside ops: a new one is part of the core until this says otherwise.
# Tests in Python may compare the core with what is above it.
readonly core="(${runtime}/... except ${runtime}/ops/... \
  except kind(py_test, ${runtime}/...))"
path="$(tools/bazel query --noshow_progress \
  "somepath(${core}, @tensorflow//:framework)")"
if [[ -n "${path}" ]]; then
  printf 'check_layers: the core depends on TensorFlow:\n%s\n' "${path}" >&2
  exit 1
fi
echo 'check_layers: the core does not depend on TensorFlow'
