#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_WARMUP_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_WARMUP_H_

#include <cstdint>

#include "monolith/native_training/runtime/hash_table/optimizer/optimizer_interface.h"

namespace monolith {

// The learning rate of a step under linear warm-up: it rises over the first
// `warmup_steps` steps, step s taking (s + 1) / warmup_steps of it, and is then
// the context's own. 0 steps mean no warm-up.
inline float WarmLearningRate(const UpdateContext& context,
                              double warmup_steps) {
  const double done = static_cast<double>(context.global_step) + 1;
  if (done >= warmup_steps) return context.learning_rate;
  if (done <= 0) return 0;
  return static_cast<float>(context.learning_rate * (done / warmup_steps));
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_OPTIMIZER_WARMUP_H_
