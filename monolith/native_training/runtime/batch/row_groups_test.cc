#include "monolith/native_training/runtime/batch/row_groups.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/batch/pooled_slice.h"
#include "monolith/native_training/runtime/batch/request_format.h"

namespace monolith {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

std::vector<std::vector<int>> Group(
    const std::vector<PooledSlice>& slices,
    const std::vector<std::vector<int64_t>>& index, int num_shards) {
  std::vector<FeatureRows> features;
  for (const auto& entries : index) features.push_back({entries, {}});
  return GroupSlicesByRows(slices, features, num_shards);
}

PooledSlice Slice(int feature, int64_t offset, int64_t dim) {
  return {"vec", feature, offset, dim, Combiner::kSum, 0};
}

TEST(GroupSlicesByRowsTest, TablesAreApart) {
  EXPECT_THAT(Group({Slice(0, 0, 4), Slice(1, 0, 4)}, {{0, 4}, {8, 12}}, 1),
              UnorderedElementsAre(ElementsAre(0), ElementsAre(1)));
}

TEST(GroupSlicesByRowsTest, SharedRowsAreTogether) {
  EXPECT_THAT(Group({Slice(0, 0, 4), Slice(1, 0, 4), Slice(2, 0, 4)},
                    {{0, 4}, {20}, {4}}, 1),
              UnorderedElementsAre(ElementsAre(0, 2), ElementsAre(1)));
}

TEST(GroupSlicesByRowsTest, SlicesOfAFeatureAreTogether) {
  EXPECT_THAT(Group({Slice(0, 0, 2), Slice(0, 2, 2)}, {{0, 4}}, 1),
              UnorderedElementsAre(ElementsAre(0, 1)));
}

TEST(GroupSlicesByRowsTest, RangesThatReachIntoEachOther) {
  // Feature 0 spans both others, which do not touch each other.
  EXPECT_THAT(Group({Slice(0, 0, 4), Slice(1, 0, 4), Slice(2, 0, 4)},
                    {{0, 100}, {8}, {40}}, 1),
              UnorderedElementsAre(ElementsAre(0, 1, 2)));
}

TEST(GroupSlicesByRowsTest, OneShardInCommonIsEnough) {
  EXPECT_THAT(Group({Slice(0, 0, 4), Slice(1, 0, 4), Slice(2, 0, 4)},
                    {{EncodeIndex(0, 0), EncodeIndex(1, 0)},
                     {EncodeIndex(0, 4), EncodeIndex(1, 0)},
                     {EncodeIndex(0, 8), EncodeIndex(1, 4)}},
                    2),
              UnorderedElementsAre(ElementsAre(0, 1), ElementsAre(2)));
}

TEST(GroupSlicesByRowsTest, EntriesOutsideAndEmptyFeatures) {
  EXPECT_THAT(Group({Slice(0, 0, 4), Slice(1, 0, 4)}, {{-1, 1LL << 62}, {}}, 1),
              UnorderedElementsAre(ElementsAre(0), ElementsAre(1)));
}

}  // namespace
}  // namespace monolith
