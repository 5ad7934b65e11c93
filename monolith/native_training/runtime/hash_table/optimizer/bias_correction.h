#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_BIAS_CORRECTION_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_BIAS_CORRECTION_H_

#include <algorithm>
#include <cmath>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/hash_table/optimizer/finite_float.h"
#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"

namespace monolith {

// The bias correction of Adam and its kin, for a row that counts its own steps.
//
// Averages that begin at 0 are too small at first: after t steps their weights
// sum up to 1 - beta^t. The row keeps these two sums, each the average of
// ones, updated as the averages are. Unlike powers of beta taken as floats
// they lose no digits to a subtraction, and they cost no call of pow.
struct BiasCorrection {
  // Floats of state: 1 - beta1^t and 1 - beta2^t, 0 in a new row.
  static constexpr int kStateDim = 2;

  static void LimitState(absl::Span<StateRange> sums) {
    std::fill(sums.begin(), sums.end(), StateRange{0, 1});
  }

  // Goes on to the next step, and gives the learning rate of it:
  // learning_rate * sqrt(1 - beta2^t) / (1 - beta1^t).
  static float NextLearningRate(float learning_rate,
                                float new_m,    // 1 - beta1
                                float new_v,    // 1 - beta2
                                float* sums) {  // (kStateDim)
    sums[0] += (1 - sums[0]) * new_m;
    sums[1] += (1 - sums[1]) * new_v;
    return ToFinite(learning_rate * std::sqrt(sums[1]) / sums[0]);
  }
};

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_BIAS_CORRECTION_H_
