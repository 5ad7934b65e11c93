#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_

#include <algorithm>
#include <cstddef>

namespace monolith {

// Hides memory latency in a loop over random places: each item passes three
// stages, kPrefetchDistance items apart, so that what a stage prefetches has
// arrived when the next stage uses it. Each stage sees the items in order.
//
// Example:
//   RunPrefetchPipeline(n,
//       [&](size_t i) { stripe.Prefetch(hash(i)); },
//       [&](size_t i) { row[i % kPipelineRing] = find(i); prefetch it },
//       [&](size_t i) { copy(row[i % kPipelineRing]); });

inline constexpr size_t kPrefetchDistance = 16;

// What a stage leaves in slot i % kPipelineRing is there for the next stage,
// but not for the one after that.
inline constexpr size_t kPipelineRing = 2 * kPrefetchDistance;

template <typename First, typename Second, typename Third>
void RunPrefetchPipeline(size_t n, First first, Second second, Third third) {
  constexpr size_t d = kPrefetchDistance;
  for (size_t i = 0; i < n + 2 * d; ++i) {
    if (i < n) first(i);
    if (i >= d && i < n + d) second(i - d);
    if (i >= 2 * d) third(i - 2 * d);
  }
}

// The same for loops that only copy what they find. Stages take
// kPrefetchDistance items at a time, and prefetches are loops of their own, so
// that many misses are under way together. (Where using an item is much work
// this is slower: the memory rests meanwhile.)
template <typename Hash, typename PrefetchHome, typename Find,
          typename PrefetchRow, typename Copy>
void RunGroupedPrefetchPipeline(size_t n, Hash hash, PrefetchHome prefetch_home,
                                Find find, PrefetchRow prefetch_row,
                                Copy copy) {
  constexpr size_t d = kPrefetchDistance;
  // The group that begins at `begin`, if there is one. Nearly all are whole,
  // and the compiler unrolls loops whose length it knows.
  const auto for_group = [n](size_t begin, auto body) {
    if (begin + d <= n) {
      for (size_t i = 0; i < d; ++i) body(begin + i);
    } else {
      for (size_t i = begin; i < n; ++i) body(i);
    }
  };
  for (size_t begin = 0; begin < n + 2 * d; begin += d) {
    for_group(begin, hash);
    for_group(begin, prefetch_home);
    if (begin < d) continue;
    for_group(begin - d, find);
    for_group(begin - d, prefetch_row);
    if (begin < 2 * d) continue;
    for_group(begin - 2 * d, copy);
  }
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
