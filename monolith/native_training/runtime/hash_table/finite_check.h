#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_

#include <cstddef>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

// The position of the first NaN or infinity; values.size() if all are finite.
// Large arrays are searched by several threads.
size_t FindNonFinite(absl::Span<const float> values, Executor& executor);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_
