#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_

#include <algorithm>
#include <cstddef>

namespace monolith {

// How many items a stage takes at a time.
inline constexpr size_t kPrefetchDistance = 16;

// What a stage leaves in slot i % kPipelineRing is there for the stages after
// it, as long as those are about the same or the next group of items.
inline constexpr size_t kPipelineRing = 2 * kPrefetchDistance;

// Hides memory latency in a loop over items that are found in two steps, each
// of which probably misses the cache: an item's home, and by it the item's row.
// Stages take kPrefetchDistance items at a time, those of each in order:
//
//   group g       hash, prefetch_home
//   group g - 1   find, prefetch_row
//   group g - 2   use
//
// Prefetches are loops of their own, so that many misses are under way
// together: one that misses the TLB as well holds the core up until it is
// translated, when a few hundred instructions are waiting behind it.
//
// Example:
//   RunPrefetchPipeline(n,
//       [&](size_t i) { hashes[i % kPipelineRing] = hash(i); },
//       [&](size_t i) { PrefetchLine(home(hashes[i % kPipelineRing])); },
//       [&](size_t i) { rows[i % kPipelineRing] = find(i); },
//       [&](size_t i) { PrefetchBlock(rows[i % kPipelineRing], bytes); },
//       [&](size_t i) { copy(rows[i % kPipelineRing]); });
template <typename Hash, typename PrefetchHome, typename Find,
          typename PrefetchRow, typename Use>
void RunPrefetchPipeline(size_t n, Hash hash, PrefetchHome prefetch_home,
                         Find find, PrefetchRow prefetch_row, Use use) {
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
    for_group(begin - 2 * d, use);
  }
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_HASH_TABLE_PREFETCH_PIPELINE_H_
