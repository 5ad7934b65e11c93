#include "monolith/native_training/runtime/hash_table/prefetch_pipeline.h"

#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(PrefetchPipelineTest, EveryItemPassesAllStagesInOrder) {
  for (size_t n : {0, 1, 15, 16, 17, 31, 32, 33, 100}) {
    size_t hashed = 0, home = 0, found = 0, row = 0, used = 0;
    size_t hashes[kPipelineRing], rows[kPipelineRing];
    RunPrefetchPipeline(
        n,
        [&](size_t i) {
          EXPECT_EQ(i, hashed++);
          hashes[i % kPipelineRing] = i;
        },
        [&](size_t i) {
          EXPECT_EQ(i, home++);
          EXPECT_EQ(hashes[i % kPipelineRing], i);
        },
        [&](size_t i) {
          EXPECT_EQ(i, found++);
          EXPECT_EQ(hashes[i % kPipelineRing], i);
          rows[i % kPipelineRing] = i;
        },
        [&](size_t i) {
          EXPECT_EQ(i, row++);
          EXPECT_EQ(rows[i % kPipelineRing], i);
        },
        [&](size_t i) {
          EXPECT_EQ(i, used++);
          EXPECT_EQ(rows[i % kPipelineRing], i);
        });
    for (size_t passed : {hashed, home, found, row, used}) {
      EXPECT_EQ(passed, n);
    }
  }
}

}  // namespace
}  // namespace monolith
