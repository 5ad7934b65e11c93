// Batches for the tests of Pool and PoolGradient.
#ifndef MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_TEST_BATCH_H_
#define MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_TEST_BATCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "monolith/native_training/runtime/batch/pooled_slice.h"

namespace monolith {

struct PoolTestBatch {
  std::vector<std::vector<float>> values;    // one per shard
  std::vector<std::vector<int64_t>> index;   // one per feature
  std::vector<std::vector<int64_t>> splits;  // one per feature
  std::vector<PooledSlice> slices;

  std::vector<FeatureRows> Features() const;
};

// Random slices of random features; the same seed gives the same batch. Large
// ones have enough ids for several threads.
PoolTestBatch RandomPoolTestBatch(int seed, bool large = false);

}  // namespace monolith

#endif  // MONOLITH_NATIVE_TRAINING_RUNTIME_BATCH_POOL_TEST_BATCH_H_
