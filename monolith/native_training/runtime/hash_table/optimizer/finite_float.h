#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FINITE_FLOAT_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FINITE_FLOAT_H_

#include <algorithm>
#include <limits>

#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

// The finite float that is nearest to `value`, and the largest one for NaN. Two
// instructions; through it what optimizers write to a row is always finite.
MONOLITH_INLINE inline float ToFinite(float value) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  return std::max(-kLargest, std::min(kLargest, value));
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_FINITE_FLOAT_H_
