#include "monolith/native_training/runtime/batch/pool_test_batch.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {

std::vector<FeatureRows> PoolTestBatch::Features() const {
  std::vector<FeatureRows> features;
  for (size_t f = 0; f < index.size(); ++f) {
    features.push_back({index[f], splits[f]});
  }
  return features;
}

PoolTestBatch RandomPoolTestBatch(int seed, bool large) {
  std::mt19937_64 random(seed);
  // Every fourth batch is large.
  large = large || seed % 4 == 3;
  const int num_shards = 1 + random() % 3;
  const int num_features = 1 + random() % 4;
  const int row_dim = 1 + random() % 40;
  const int64_t batch_size = large ? 8000 + random() % 500 : random() % 40;
  const int64_t rows = 1 + random() % (large ? 500 : 20);
  PoolTestBatch batch;
  std::uniform_real_distribution<float> uniform(-1, 1);
  batch.values.resize(num_shards);
  for (auto& values : batch.values) {
    values.resize(rows * row_dim);
    for (float& value : values) value = uniform(random);
  }
  batch.index.resize(num_features);
  batch.splits.resize(num_features);
  for (int f = 0; f < num_features; ++f) {
    int64_t num_ids = 0;
    batch.splits[f].push_back(0);
    for (int64_t b = 0; b < batch_size; ++b) {
      num_ids += random() % 3 == 0 ? random() % 6 : 1;
      batch.splits[f].push_back(num_ids);
    }
    for (int64_t i = 0; i < num_ids; ++i) {
      batch.index[f].push_back(
          EncodeIndex(random() % num_shards, (random() % rows) * row_dim));
    }
    const int num_slices = 1 + random() % 3;
    for (int s = 0; s < num_slices; ++s) {
      PooledSlice slice;
      slice.name = std::to_string(f) + "/" + std::to_string(s);
      slice.feature = f;
      slice.offset = random() % row_dim;
      slice.dim = 1 + random() % (row_dim - slice.offset);
      slice.combiner = static_cast<Combiner>(random() % 4);
      slice.length = slice.combiner == Combiner::kFirstN ? 1 + random() % 4 : 0;
      batch.slices.push_back(slice);
    }
  }
  return batch;
}

}  // namespace monolith
