#include "monolith/native_training/runtime/batch/finite.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"

namespace monolith {
namespace {

// Looks at the bits, so that no floating-point option of a compiler matters.
constexpr uint32_t kExponent = 0x7f800000;

bool IsFinite(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & kExponent) != kExponent;
}

}  // namespace

int64_t FindNonFinite(absl::Span<const float> values) {
  // A block has no early exit, so the compiler vectorizes it.
  constexpr size_t kBlock = 1024;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t end = std::min(values.size(), begin + kBlock);
    uint32_t bad = 0;
    for (size_t i = begin; i < end; ++i) bad |= IsFinite(values[i]) ? 0u : 1u;
    if (bad == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      if (!IsFinite(values[i])) return static_cast<int64_t>(i);
    }
  }
  return -1;
}

}  // namespace monolith
