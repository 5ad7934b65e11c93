#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "monolith/native_training/runtime/concurrency/executor.h"

namespace monolith {

// Whether a number is neither NaN nor infinite. Looks at the bits, so that no
// floating-point option of a compiler matters.
inline bool IsFinite(float value) {
  constexpr uint32_t kExponent = 0x7f800000;  // All ones in NaN and infinity.
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & kExponent) != kExponent;
}

inline bool IsFinite(double value) {
  constexpr uint64_t kExponent = 0x7ff0000000000000;
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & kExponent) != kExponent;
}

// The position of the first NaN or infinity; values.size() if all are finite.
// Large arrays are searched by several threads.
size_t FindNonFinite(absl::Span<const float> values, Executor& executor);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_FINITE_CHECK_H_
