// The joint size of many gradient arrays, and bringing it down to a limit.
//
// Sums are in double precision: squares of any finite floats neither overflow
// nor vanish. Results do not depend on the number of threads.
//
// Thread safety: pure functions.
//
// Example:
//   const double norm = GlobalNorm(gradients, executor);
//   if (norm > limit) Scale(gradients[i], limit / norm, executor, clipped[i]);
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_GLOBAL_NORM_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_GLOBAL_NORM_H_

#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

// The root of the sum of the squares of all numbers; finite if and only if all
// numbers are.
double GlobalNorm(absl::Span<const absl::Span<const float>> arrays,
                  Executor& executor);

// scaled[i] = values[i] * factor, rounded once. `scaled` has the size of
// `values` and may be the same memory.
void Scale(absl::Span<const float> values, double factor, Executor& executor,
           absl::Span<float> scaled);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_GLOBAL_NORM_H_
