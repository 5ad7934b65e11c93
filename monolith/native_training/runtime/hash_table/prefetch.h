#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace monolith {

// Prefetches one cache line into the second-level cache. There are about twice
// as many such misses under way at a time as of those into the first level, and
// the few nanoseconds from there are hidden by the instructions in between.
inline void PrefetchLine(const void* data) {
  constexpr int kRead = 0;
  constexpr int kSecondLevel = 2;
  __builtin_prefetch(data, kRead, kSecondLevel);
  // GCC takes a function that only prefetches for one without effect, and drops
  // calls of it. It must not do so with one that might do anything.
  asm volatile("");
}

// Prefetches the cache lines of a block of at least one float; of a long block
// the first ones, as the hardware notices the rest.
inline void PrefetchBlock(const void* data, size_t bytes) {
  constexpr size_t kLine = 64;
  constexpr size_t kMaxBytes = 16 * kLine;
  const char* const begin = static_cast<const char*>(data);
  const size_t n = std::min(bytes, kMaxBytes);
  for (size_t offset = 0; offset < n; offset += kLine) {
    PrefetchLine(begin + offset);
  }
  // The line that an unaligned block ends in.
  if (reinterpret_cast<uintptr_t>(begin) % kLine != 0) {
    PrefetchLine(begin + n - 1);
  }
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_H_
