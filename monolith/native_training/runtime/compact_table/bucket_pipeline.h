#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BUCKET_PIPELINE_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BUCKET_PIPELINE_H_

#include <algorithm>
#include <cstddef>

namespace monolith {

// How many items a stage takes at a time.
inline constexpr size_t kBucketPipelineStep = 16;

// What a stage leaves in slot i % kBucketPipelineRing is there until the last
// stage has had item i.
inline constexpr size_t kBucketPipelineRing = 4 * kBucketPipelineStep;

// Hides memory latency in a loop over items that are found in three steps, each
// of which probably misses the cache: hash_table/prefetch_pipeline.h with a
// step more. Each stage prefetches what the next one reads:
//
//   group g       hash    where the bucket begins
//   group g - 1   home    the bucket's ids
//   group g - 2   find    the row
//   group g - 3   use
template <typename Hash, typename Home, typename Find, typename Use>
void RunBucketPipeline(size_t n, Hash hash, Home home, Find find, Use use) {
  constexpr size_t d = kBucketPipelineStep;
  const auto for_group = [n](size_t begin, auto body) {
    const size_t end = std::min(begin + d, n);
    for (size_t i = begin; i < end; ++i) body(i);
  };
  for (size_t begin = 0; begin < n + 3 * d; begin += d) {
    for_group(begin, hash);
    if (begin < d) continue;
    for_group(begin - d, home);
    if (begin < 2 * d) continue;
    for_group(begin - 2 * d, find);
    if (begin < 3 * d) continue;
    for_group(begin - 3 * d, use);
  }
}

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_COMPACT_TABLE_BUCKET_PIPELINE_H_
