#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_CLAMPED_SUM_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_CLAMPED_SUM_H_

#include <cstddef>

namespace monolith {

// sum += values, for finite floats: a sum beyond the largest finite float
// becomes that float, of either sign.
void AddClamped(const float* values,  // (n)
                size_t n,
                float* sum);  // (n)

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_CLAMPED_SUM_H_
