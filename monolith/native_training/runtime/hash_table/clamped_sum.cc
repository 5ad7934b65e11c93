#include "monolith/native_training/runtime/hash_table/clamped_sum.h"

#include <algorithm>
#include <cstddef>
#include <limits>

#include "monolith/native_training/runtime/simd/vectorized_loop.h"

namespace monolith {

void AddClamped(const float* values, size_t n, float* sum) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  VectorizedLoop(static_cast<int>(n), [=](int i) MONOLITH_INLINE {
    sum[i] = std::max(-kLargest, std::min(kLargest, sum[i] + values[i]));
  });
}

}  // namespace monolith
