#include "monolith/native_training/runtime/hash_table/optimizer/sgd_kernel.h"

namespace monolith {

void SgdKernel(const float* __restrict gradient, int n, float learning_rate,
               float* __restrict embedding) {
  for (int i = 0; i < n; ++i) embedding[i] -= learning_rate * gradient[i];
}

}  // namespace monolith
