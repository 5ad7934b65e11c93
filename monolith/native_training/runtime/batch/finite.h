// Tells NaN and infinite numbers from others.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_

#include <cstdint>
#include <cstring>

namespace monolith {

// Looks at the bits, so that no floating-point option of a compiler matters.
inline bool IsFinite(float value) {
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & kExponent) != kExponent;
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_FINITE_H_
