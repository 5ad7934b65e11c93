#include "monolith/native_training/runtime/hash_table/finite_check.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace monolith {
namespace {

constexpr size_t kBlock = 1024;       // floats looked at in one go
constexpr size_t kPerTask = 1 << 17;  // floats that are worth a thread

// Without a branch, so that the loop vectorizes.
bool AllFinite(const float* values, size_t n) {
  uint32_t found = 0;
  for (size_t i = 0; i < n; ++i) found |= IsFinite(values[i]) ? 0u : 1u;
  return found == 0;
}

size_t FindInRange(absl::Span<const float> values, size_t begin, size_t end) {
  for (; begin < end; begin += kBlock) {
    const size_t n = std::min(kBlock, end - begin);
    if (AllFinite(values.data() + begin, n)) continue;
    while (AllFinite(values.data() + begin, 1)) ++begin;
    return begin;
  }
  return values.size();
}

}  // namespace

size_t FindNonFinite(absl::Span<const float> values, Executor& executor) {
  const size_t n = values.size();
  const size_t tasks = (n + kPerTask - 1) / kPerTask;
  if (tasks <= 1 || executor.num_threads() == 1) {
    return FindInRange(values, 0, n);
  }
  std::atomic<size_t> first{n};
  executor.ParallelFor(static_cast<int64_t>(tasks), [&](int64_t task) {
    const size_t begin = static_cast<size_t>(task) * kPerTask;
    const size_t found =
        FindInRange(values, begin, std::min(n, begin + kPerTask));
    size_t known = first.load(std::memory_order_relaxed);
    while (found < known && !first.compare_exchange_weak(known, found)) {
    }
  });
  return first.load(std::memory_order_relaxed);
}

}  // namespace monolith
