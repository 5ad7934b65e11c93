// Finds NaN and infinite numbers in a buffer, fast when there are none.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_

#include <cstdint>

#include "absl/types/span.h"

namespace monolith {

// Position of the first NaN or infinite value, -1 if all are finite.
int64_t FindNonFinite(absl::Span<const float> values);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_
