#include "monolith/native_training/runtime/hash_table/optimizer/adagrad_kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace monolith {

// std::sqrt is only vectorized where it need not set errno, hence the
// -fno-math-errno of this file's target.
void AdagradKernel(const float* __restrict gradient, int n, float learning_rate,
                   float weight_decay_factor, float* __restrict embedding,
                   float* __restrict accumulator) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (int i = 0; i < n; ++i) {
    const float g = gradient[i] + weight_decay_factor * embedding[i];
    const float sum = std::min(accumulator[i] + g * g, kLargest);
    accumulator[i] = sum;
    embedding[i] -= learning_rate * (g / std::sqrt(sum));
  }
}

}  // namespace monolith
