#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace monolith {

// Hides memory latency in a loop over random places. Each item passes three
// stages: it is hashed, found and used. Stages work on a group of items at a
// time and are one group apart, so that what one prefetches has arrived when
// the next needs it. Each stage sees the items in order.
//
// Prefetches are loops of their own: one that misses the TLB holds the core up
// as soon as a few hundred instructions are waiting behind it, so those that
// are to overlap must be close together.
//
// Example:
//   RunPrefetchPipeline(n,
//       [&](size_t i) { home[i % kPipelineRing] = hash and locate },
//       [&](size_t i) { __builtin_prefetch(home[i % kPipelineRing]); },
//       [&](size_t i) { row[i % kPipelineRing] = find },
//       [&](size_t i) { PrefetchBlock<false>(row[i % kPipelineRing], bytes); },
//       [&](size_t i) { copy(row[i % kPipelineRing]); });

inline constexpr size_t kPrefetchGroup = 16;

// What a stage leaves in slot i % kPipelineRing is there for the next stage,
// but not for the one after that.
inline constexpr size_t kPipelineRing = 2 * kPrefetchGroup;

template <typename Hash, typename PrefetchHome, typename Find,
          typename PrefetchRow, typename Use>
void RunPrefetchPipeline(size_t n, Hash hash, PrefetchHome prefetch_home,
                         Find find, PrefetchRow prefetch_row, Use use) {
  constexpr size_t kGroup = kPrefetchGroup;
  // The group that begins at `begin`, if there is one.
  const auto for_group = [n](size_t begin, auto body) {
    const size_t end = std::min(begin + kGroup, n);
    for (size_t i = begin; i < end; ++i) body(i);
  };
  for (size_t begin = 0; begin < n + 2 * kGroup; begin += kGroup) {
    for_group(begin, hash);
    for_group(begin, prefetch_home);
    if (begin < kGroup) continue;
    for_group(begin - kGroup, find);
    for_group(begin - kGroup, prefetch_row);
    if (begin < 2 * kGroup) continue;
    for_group(begin - 2 * kGroup, use);
  }
}

// Prefetches the cache lines of a block of at least one float; of a long block
// the first ones, as the hardware notices the rest.
template <bool kForWriting>
inline void PrefetchBlock(const void* data, size_t bytes) {
  constexpr size_t kLine = 64;
  constexpr size_t kMaxBytes = 16 * kLine;
  const char* const begin = static_cast<const char*>(data);
  const size_t n = std::min(bytes, kMaxBytes);
  for (size_t offset = 0; offset < n; offset += kLine) {
    __builtin_prefetch(begin + offset, kForWriting);
  }
  // The line that an unaligned block ends in.
  if (reinterpret_cast<uintptr_t>(begin) % kLine != 0) {
    __builtin_prefetch(begin + n - 1, kForWriting);
  }
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
