#include "monolith/native_training/runtime/batch/pool.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
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

absl::Status RunPool(const PoolTestBatch& batch, Executor& executor,
                     std::vector<Floats>* pooled) {
  const auto features = batch.Features();
  pooled->clear();
  for (const PooledSlice& slice : batch.slices) {
    const auto floats = PooledFloats(slice, features[slice.feature]);
    if (!floats.ok()) return floats.status();
    pooled->emplace_back(*floats, -1.0f);
  }
  std::vector<absl::Span<float>> outputs;
  for (Floats& output : *pooled) outputs.push_back(absl::MakeSpan(output));
  const std::vector<absl::Span<const float>> values(batch.values.begin(),
                                                    batch.values.end());
  return Pool(batch.slices, features, values, executor, outputs);
}

// One float at a time, in double.
std::vector<Floats> Oracle(const PoolTestBatch& batch) {
  std::vector<Floats> pooled;
  for (const PooledSlice& slice : batch.slices) {
    const auto& index = batch.index[slice.feature];
    const auto& splits = batch.splits[slice.feature];
    const auto at = [&](int64_t i, int64_t d) -> double {
      return batch.values[ShardOfIndex(index[i])]
                         [OffsetOfIndex(index[i]) + slice.offset + d];
    };
    Floats out;
    for (size_t b = 0; b + 1 < splits.size(); ++b) {
      const int64_t count = splits[b + 1] - splits[b];
      if (slice.combiner == Combiner::kSum ||
          slice.combiner == Combiner::kMean) {
        for (int64_t d = 0; d < slice.dim; ++d) {
          double sum = 0;
          for (int64_t k = 0; k < count; ++k) sum += at(splits[b] + k, d);
          if (slice.combiner == Combiner::kMean && count > 0) sum /= count;
          out.push_back(sum);
        }
        continue;
      }
      const int64_t rows =
          slice.combiner == Combiner::kNone ? count : slice.length;
      for (int64_t k = 0; k < rows; ++k) {
        for (int64_t d = 0; d < slice.dim; ++d) {
          out.push_back(k < count ? at(splits[b] + k, d) : 0);
        }
      }
    }
    pooled.push_back(out);
  }
  return pooled;
}

PoolTestBatch SmallBatch() {
  PoolTestBatch batch;
  batch.values = {{1, 2, 3, 10, 20, 30}, {5, 6, 7}};
  batch.index = {{EncodeIndex(0, 0), EncodeIndex(1, 0), EncodeIndex(0, 3)}};
  batch.splits = {{0, 2, 2, 3}};
  return batch;
}

TEST(PoolTest, EveryCombiner) {
  PoolTestBatch batch = SmallBatch();
  batch.slices = {{"sum", 0, 0, 3, Combiner::kSum, 0},
                  {"mean", 0, 1, 2, Combiner::kMean, 0},
                  {"first", 0, 2, 1, Combiner::kFirstN, 3},
                  {"none", 0, 0, 1, Combiner::kNone, 0}};
  std::vector<Floats> pooled;
  ASSERT_TRUE(RunPool(batch, InlineExecutor::Get(), &pooled).ok());
  EXPECT_THAT(pooled[0], ElementsAre(6, 8, 10, 0, 0, 0, 10, 20, 30));
  EXPECT_THAT(pooled[1], ElementsAre(4, 5, 0, 0, 20, 30));
  EXPECT_THAT(pooled[2], ElementsAre(3, 7, 0, 0, 0, 0, 30, 0, 0));
  EXPECT_THAT(pooled[3], ElementsAre(1, 5, 10));
}

TEST(PoolTest, EmptyBatch) {
  PoolTestBatch batch;
  batch.values = {{}};
  batch.index = {{}};
  batch.splits = {{0}};
  batch.slices = {{"sum", 0, 0, 3, Combiner::kSum, 0},
                  {"none", 0, 0, 3, Combiner::kNone, 0}};
  std::vector<Floats> pooled;
  ASSERT_TRUE(RunPool(batch, InlineExecutor::Get(), &pooled).ok());
  EXPECT_TRUE(pooled[0].empty());
  EXPECT_TRUE(pooled[1].empty());
}

TEST(PoolTest, RandomBatchesMatchOracle) {
  ThreadPoolExecutor pool(3);
  for (int round = 0; round < 40; ++round) {
    const PoolTestBatch batch = RandomPoolTestBatch(round);
    const std::vector<Floats> wanted = Oracle(batch);
    std::vector<Floats> serial;
    std::vector<Floats> parallel;
    ASSERT_TRUE(RunPool(batch, InlineExecutor::Get(), &serial).ok());
    ASSERT_TRUE(RunPool(batch, pool, &parallel).ok());
    EXPECT_EQ(serial, parallel);
    ASSERT_EQ(serial.size(), wanted.size());
    for (size_t o = 0; o < wanted.size(); ++o) {
      ASSERT_EQ(serial[o].size(), wanted[o].size());
      for (size_t i = 0; i < wanted[o].size(); ++i) {
        ASSERT_NEAR(serial[o][i], wanted[o][i], 1e-4) << round << " " << o;
      }
    }
  }
}

TEST(PoolTest, RejectsIndexOutsideTheBuffers) {
  const int64_t bad[] = {EncodeIndex(2, 0),
                         EncodeIndex(0, 4),
                         EncodeIndex(1, 1),
                         EncodeIndex(0, kMaxBufferFloats - 1),
                         -1,
                         std::numeric_limits<int64_t>::min(),
                         std::numeric_limits<int64_t>::max()};
  for (int64_t entry : bad) {
    for (Combiner combiner : {Combiner::kSum, Combiner::kMean,
                              Combiner::kFirstN, Combiner::kNone}) {
      PoolTestBatch batch = SmallBatch();
      batch.index[0][1] = entry;
      batch.slices = {{"vec", 0, 0, 3, combiner, 2}};
      std::vector<Floats> pooled;
      const absl::Status status =
          RunPool(batch, InlineExecutor::Get(), &pooled);
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(status.message(), HasSubstr("index entry 1 of feature 0"));
    }
  }
}

TEST(PoolTest, RejectsBadIndexOnAnyThread) {
  ThreadPoolExecutor pool(3);
  PoolTestBatch batch = RandomPoolTestBatch(0, /*large=*/true);
  for (auto& feature : batch.index) feature.back() = EncodeIndex(900, 0);
  std::vector<Floats> pooled;
  EXPECT_EQ(RunPool(batch, pool, &pooled).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PooledSliceTest, ChecksFields) {
  const PooledSlice good = {"vec", 0, 0, 4, Combiner::kSum, 0};
  EXPECT_TRUE(CheckPooledSlice(good, 1).ok());
  PooledSlice slice = good;
  slice.feature = 1;
  EXPECT_THAT(CheckPooledSlice(slice, 1).message(), HasSubstr("feature"));
  slice = good;
  slice.dim = 0;
  EXPECT_THAT(CheckPooledSlice(slice, 1).message(), HasSubstr("dim"));
  slice = good;
  slice.offset = -1;
  EXPECT_THAT(CheckPooledSlice(slice, 1).message(), HasSubstr("offset"));
  slice = good;
  slice.combiner = Combiner::kFirstN;
  EXPECT_THAT(CheckPooledSlice(slice, 1).message(), HasSubstr("length"));
}

TEST(PooledSliceTest, PooledFloatsRejectsOverflow) {
  const std::vector<int64_t> splits(1001, 0);
  const FeatureRows rows = {{}, splits};
  const PooledSlice slice = {
      "vec", 0, 0, kMaxRowFloats, Combiner::kFirstN, kMaxRowFloats};
  EXPECT_FALSE(PooledFloats(slice, rows).ok());
}

TEST(CombinerTest, ParsesNames) {
  EXPECT_EQ(*ParseCombiner("sum"), Combiner::kSum);
  EXPECT_EQ(*ParseCombiner("mean"), Combiner::kMean);
  EXPECT_EQ(*ParseCombiner("first_n"), Combiner::kFirstN);
  EXPECT_EQ(*ParseCombiner("none"), Combiner::kNone);
  EXPECT_THAT(ParseCombiner("max").status().message(), HasSubstr("'max'"));
}

}  // namespace
}  // namespace monolith
