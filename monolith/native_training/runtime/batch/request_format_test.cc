#include "monolith/native_training/runtime/batch/request_format.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(IndexEntryTest, KeepsShardAndOffset) {
  for (int64_t shard : {int64_t{0}, int64_t{1}, kMaxShards - 1}) {
    for (int64_t offset : {int64_t{0}, int64_t{4711}, kMaxBufferFloats - 1}) {
      const int64_t entry = EncodeIndex(shard, offset);
      EXPECT_GE(entry, 0);
      EXPECT_EQ(ShardOfIndex(entry), shard);
      EXPECT_EQ(OffsetOfIndex(entry), offset);
    }
  }
}

TEST(IndexEntryTest, NegativeEntryHasNegativeShard) {
  EXPECT_LT(ShardOfIndex(-1), 0);
  EXPECT_LT(ShardOfIndex(std::numeric_limits<int64_t>::min()), 0);
}

TEST(ParseRequestTest, SplitsCountsFromIds) {
  const std::vector<int64_t> request = {2, 0, 1, 7, 9, 5};
  const auto view = ParseRequest(request, 3);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->counts, absl::MakeConstSpan(request).subspan(0, 3));
  EXPECT_EQ(view->ids, absl::MakeConstSpan(request).subspan(3));
  EXPECT_EQ(*ValueBufferSize(*view, {4, 100, 8}), 2 * 4 + 8);
}

TEST(ParseRequestTest, AcceptsNoIds) {
  const std::vector<int64_t> request = {0, 0};
  const auto view = ParseRequest(request, 2);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_TRUE(view->ids.empty());
  EXPECT_EQ(*ValueBufferSize(*view, {4, 8}), 0);
}

TEST(ParseRequestTest, RejectsBadHeaders) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  EXPECT_FALSE(ParseRequest({}, 1).ok());
  EXPECT_FALSE(ParseRequest({1}, 2).ok());
  EXPECT_FALSE(ParseRequest({1}, 1).ok());
  EXPECT_FALSE(ParseRequest({1, 7, 8}, 1).ok());
  EXPECT_FALSE(ParseRequest({-1, 2, 7}, 2).ok());
  EXPECT_FALSE(ParseRequest({kMax, kMax, 3, 7}, 3).ok());
  EXPECT_FALSE(ParseRequest({1, kMax, 7, 8}, 2).ok());
}

TEST(ValueBufferSizeTest, RejectsOverflow) {
  RequestView view;
  const std::vector<int64_t> counts = {int64_t{1} << 40, 1};
  view.counts = counts;
  EXPECT_FALSE(ValueBufferSize(view, {kMaxRowFloats, 1}).ok());
  EXPECT_FALSE(ValueBufferSize(view, {int64_t{1} << 8, 1}).ok());
  EXPECT_TRUE(ValueBufferSize(view, {(int64_t{1} << 8) - 1, 1}).ok());
}

}  // namespace
}  // namespace monolith
