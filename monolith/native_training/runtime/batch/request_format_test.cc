#include "monolith/native_training/runtime/batch/request_format.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "gtest/gtest.h"

namespace monolith {
namespace {

using Counts = absl::InlinedVector<int64_t, 8>;

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
  EXPECT_EQ(view->counts, Counts({2, 0, 1}));
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

TEST(ParseRequestTest, FindsOccurrences) {
  constexpr int64_t kFlag = kOccurrencesFlag;
  const std::vector<uint16_t> first = {1, 2, 65535, 4, 5};
  const std::vector<uint16_t> third = {65535};
  std::vector<int64_t> request = {5 + kFlag, 1,  1 + kFlag, 0,  kFlag, 10,
                                  11,        12, 13,        14, 15,    16};
  request.resize(request.size() + 3);
  PackOccurrences(first, absl::MakeSpan(request).subspan(12, 2));
  PackOccurrences(third, absl::MakeSpan(request).subspan(14, 1));
  const auto view = ParseRequest(request, 5);
  ASSERT_TRUE(view.ok()) << view.status();
  EXPECT_EQ(view->counts, Counts({5, 1, 1, 0, 0}));
  EXPECT_EQ(view->ids.size(), 7u);
  EXPECT_EQ(view->ids.back(), 16);
  std::vector<uint16_t> unpacked(5);
  UnpackOccurrences(view->occurrences[0], absl::MakeSpan(unpacked));
  EXPECT_EQ(unpacked, first);
  EXPECT_TRUE(view->occurrences[1].empty());
  unpacked.resize(1);
  UnpackOccurrences(view->occurrences[2], absl::MakeSpan(unpacked));
  EXPECT_EQ(unpacked, third);
  EXPECT_TRUE(view->occurrences[4].empty());
}

TEST(ParseRequestTest, RejectsMissingOrSuperfluousOccurrences) {
  constexpr int64_t kFlag = kOccurrencesFlag;
  EXPECT_TRUE(ParseRequest({1 + kFlag, 7, 1}, 1).ok());
  EXPECT_FALSE(ParseRequest({1 + kFlag, 7}, 1).ok());
  EXPECT_FALSE(ParseRequest({1 + kFlag, 7, 1, 1}, 1).ok());
  EXPECT_FALSE(ParseRequest({5 + kFlag, 1, 2, 3, 4, 5, 6}, 1).ok());
  EXPECT_FALSE(ParseRequest({kFlag, 7}, 1).ok());
  EXPECT_FALSE(
      ParseRequest({std::numeric_limits<int64_t>::max(), 7, 1}, 1).ok());
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
  view.counts = {int64_t{1} << 40, 1};
  EXPECT_FALSE(ValueBufferSize(view, {kMaxRowFloats, 1}).ok());
  EXPECT_FALSE(ValueBufferSize(view, {int64_t{1} << 8, 1}).ok());
  EXPECT_TRUE(ValueBufferSize(view, {(int64_t{1} << 8) - 1, 1}).ok());
}

}  // namespace
}  // namespace monolith
