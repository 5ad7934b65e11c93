#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_IN_THREADS_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_IN_THREADS_H_

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "tensorflow/core/platform/env.h"

namespace monolith {

// Calls body(i) for each i below n, for n files for example, a few of them
// beside each other. The first error ends it.
absl::Status ForEachInThreads(tensorflow::Env* env, size_t n,
                              absl::FunctionRef<absl::Status(size_t)> body);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_OPS_TABLE_FILES_IN_THREADS_H_
