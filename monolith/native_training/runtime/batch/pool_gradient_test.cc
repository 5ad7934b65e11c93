#include "monolith/native_training/runtime/batch/pool_gradient.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/batch/pool_test_batch.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"

namespace monolith {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Floats = std::vector<float>;

// Gradients go into buffers as large as the batch's values.
absl::Status RunGradient(const PoolTestBatch& batch,
                         const std::vector<Floats>& gradients,
                         Executor& executor, std::vector<Floats>* buffers) {
  buffers->clear();
  for (const Floats& values : batch.values) {
    buffers->emplace_back(values.size(), -1.0f);
  }
  std::vector<absl::Span<float>> outputs;
  for (Floats& buffer : *buffers) outputs.push_back(absl::MakeSpan(buffer));
  const std::vector<absl::Span<const float>> inputs(gradients.begin(),
                                                    gradients.end());
  return PoolGradient(batch.slices, batch.Features(), inputs, executor,
                      outputs);
}

std::vector<Floats> RandomGradients(const PoolTestBatch& batch, int seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  const auto features = batch.Features();
  std::vector<Floats> gradients;
  for (const PooledSlice& slice : batch.slices) {
    gradients.emplace_back(*PooledFloats(slice, features[slice.feature]));
    for (float& value : gradients.back()) value = uniform(random);
  }
  return gradients;
}

// One float at a time, in double.
std::vector<std::vector<double>> Oracle(const PoolTestBatch& batch,
                                        const std::vector<Floats>& gradients) {
  std::vector<std::vector<double>> buffers;
  for (const Floats& values : batch.values) {
    buffers.emplace_back(values.size(), 0.0);
  }
  for (size_t o = 0; o < batch.slices.size(); ++o) {
    const PooledSlice& slice = batch.slices[o];
    const auto& index = batch.index[slice.feature];
    const auto& splits = batch.splits[slice.feature];
    for (size_t b = 0; b + 1 < splits.size(); ++b) {
      const int64_t count = splits[b + 1] - splits[b];
      for (int64_t k = 0; k < count; ++k) {
        int64_t row = b;
        double scale = 1;
        if (slice.combiner == Combiner::kMean) scale = 1.0 / count;
        if (slice.combiner == Combiner::kNone) row = splits[b] + k;
        if (slice.combiner == Combiner::kFirstN) {
          if (k >= slice.length) continue;
          row = b * slice.length + k;
        }
        const int64_t entry = index[splits[b] + k];
        for (int64_t d = 0; d < slice.dim; ++d) {
          buffers[ShardOfIndex(entry)]
                 [OffsetOfIndex(entry) + slice.offset + d] +=
              scale * gradients[o][row * slice.dim + d];
        }
      }
    }
  }
  return buffers;
}

PoolTestBatch SmallBatch(Combiner combiner) {
  PoolTestBatch batch;
  batch.values = {Floats(4), Floats(2)};
  batch.index = {{EncodeIndex(0, 0), EncodeIndex(1, 0), EncodeIndex(0, 0)}};
  batch.splits = {{0, 2, 2, 3}};
  batch.slices = {{"mov/vec", 0, 0, 2, combiner, 2}};
  return batch;
}

TEST(PoolGradientTest, AddsUpRowsUsedTwice) {
  const PoolTestBatch batch = SmallBatch(Combiner::kSum);
  std::vector<Floats> buffers;
  ASSERT_TRUE(RunGradient(batch, {{1, 2, 100, 100, 10, 20}},
                          InlineExecutor::Get(), &buffers)
                  .ok());
  EXPECT_THAT(buffers[0], ElementsAre(11, 22, 0, 0));
  EXPECT_THAT(buffers[1], ElementsAre(1, 2));
}

TEST(PoolGradientTest, RandomBatchesMatchOracle) {
  ThreadPoolExecutor pool(3);
  for (int round = 0; round < 40; ++round) {
    const PoolTestBatch batch = RandomPoolTestBatch(round);
    const std::vector<Floats> gradients = RandomGradients(batch, round);
    const auto wanted = Oracle(batch, gradients);
    std::vector<Floats> serial;
    std::vector<Floats> parallel;
    ASSERT_TRUE(
        RunGradient(batch, gradients, InlineExecutor::Get(), &serial).ok());
    ASSERT_TRUE(RunGradient(batch, gradients, pool, &parallel).ok());
    EXPECT_EQ(serial, parallel);
    for (size_t s = 0; s < wanted.size(); ++s) {
      ASSERT_EQ(serial[s].size(), wanted[s].size());
      for (size_t i = 0; i < wanted[s].size(); ++i) {
        ASSERT_NEAR(serial[s][i], wanted[s][i],
                    1e-4 * std::max(1.0, std::abs(wanted[s][i])));
      }
    }
  }
}

TEST(PoolGradientTest, NamesTheBadGradient) {
  using Limits = std::numeric_limits<float>;
  for (float bad : {Limits::quiet_NaN(), Limits::infinity()}) {
    std::vector<Floats> buffers;
    const absl::Status status =
        RunGradient(SmallBatch(Combiner::kMean), {{1, 2, 3, 4, 5, bad}},
                    InlineExecutor::Get(), &buffers);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("gradient of mov/vec"));
    EXPECT_THAT(status.message(), HasSubstr("at example 2, position 1"));
  }
}

TEST(PoolGradientTest, GradientsThatReachNoRowMayBeAnything) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<Floats> buffers;
  EXPECT_TRUE(RunGradient(SmallBatch(Combiner::kSum),
                          {{1, 2, nan, nan, 10, 20}}, InlineExecutor::Get(),
                          &buffers)
                  .ok());
  EXPECT_TRUE(RunGradient(SmallBatch(Combiner::kFirstN),
                          {{1, 2, 3, 4, nan, nan, nan, nan, 5, 6, nan, nan}},
                          InlineExecutor::Get(), &buffers)
                  .ok());
  EXPECT_THAT(buffers[0], ElementsAre(6, 8, 0, 0));
  EXPECT_THAT(buffers[1], ElementsAre(3, 4));
}

TEST(PoolGradientTest, RejectsWrongSizesAndBadIndex) {
  std::vector<Floats> buffers;
  PoolTestBatch batch = SmallBatch(Combiner::kSum);
  EXPECT_THAT(RunGradient(batch, {{1, 2, 3}}, InlineExecutor::Get(), &buffers)
                  .message(),
              HasSubstr("gradient of mov/vec has 3 floats, wanted 6"));
  EXPECT_FALSE(RunGradient(batch, {}, InlineExecutor::Get(), &buffers).ok());
  for (int64_t entry : {EncodeIndex(0, 3), EncodeIndex(7, 0), int64_t{-1}}) {
    batch.index[0][2] = entry;
    EXPECT_THAT(RunGradient(batch, {Floats(6)}, InlineExecutor::Get(), &buffers)
                    .message(),
                HasSubstr("index entry 2"));
  }
}

}  // namespace
}  // namespace monolith
