#include "monolith/native_training/runtime/hash_table/index_memory.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(IndexMemoryTest, EveryStripeHasBucketsOfItsOwn) {
  IndexMemory memory;
  constexpr uint64_t kBuckets = 9000;  // in several chunks
  for (int stripe = 0; stripe < kNumStripes; ++stripe) {
    ASSERT_TRUE(memory.Reserve(stripe, kBuckets).ok());
    for (uint64_t b = 0; b < kBuckets; ++b) {
      auto* const words = static_cast<uint64_t*>(memory.Bucket(stripe, b));
      ASSERT_EQ(reinterpret_cast<uintptr_t>(words) % 64, 0u);
      for (int i = 0; i < 8; ++i) {
        ASSERT_EQ(words[i], 0u);
        words[i] = b * kNumStripes + static_cast<uint64_t>(stripe);
      }
    }
  }
  for (int stripe = 0; stripe < kNumStripes; ++stripe) {
    for (uint64_t b = 0; b < kBuckets; ++b) {
      const auto* const words =
          static_cast<uint64_t*>(memory.Bucket(stripe, b));
      for (int i = 0; i < 8; ++i) {
        ASSERT_EQ(words[i], b * kNumStripes + static_cast<uint64_t>(stripe));
      }
    }
  }
}

TEST(IndexMemoryTest, BucketsStayWhereTheyAre) {
  IndexMemory memory;
  ASSERT_TRUE(memory.Reserve(5, 3).ok());
  void* const bucket = memory.Bucket(5, 2);
  std::memset(bucket, 1, IndexMemory::kBucketBytes);
  for (uint64_t n = 4; n < 300000; n += n / 4) {
    ASSERT_TRUE(memory.Reserve(5, n).ok());
    EXPECT_EQ(memory.Bucket(5, 2), bucket);
    EXPECT_EQ(*static_cast<char*>(memory.Bucket(5, n - 1)), 0);
  }
  EXPECT_EQ(*static_cast<char*>(bucket), 1);
}

TEST(IndexMemoryTest, CountsThePagesThatAreTouched) {
  IndexMemory memory;
  EXPECT_EQ(memory.memory_bytes(), 0);
  ASSERT_TRUE(memory.Reserve(0, 1).ok());
  EXPECT_EQ(memory.memory_bytes(), 4096);
  ASSERT_TRUE(memory.Reserve(0, 65).ok());
  EXPECT_EQ(memory.memory_bytes(), 8192);
  ASSERT_TRUE(memory.Reserve(63, 64).ok());
  EXPECT_EQ(memory.memory_bytes(), 3 * 4096);
  constexpr int64_t kHugePage = 2 << 20;
  ASSERT_TRUE(memory.Reserve(0, 1025).ok());
  EXPECT_EQ(memory.memory_bytes(), kHugePage + (64 << 10) + 4096);
  ASSERT_TRUE(memory.Reserve(1, 1025).ok());  // shares the huge page
  EXPECT_EQ(memory.memory_bytes(), kHugePage + 2 * (64 << 10) + 4096);
  memory.Reset();
  EXPECT_EQ(memory.memory_bytes(), 0);
}

TEST(IndexMemoryTest, IsZeroAfterAReset) {
  IndexMemory memory;
  ASSERT_TRUE(memory.Reserve(9, 5000).ok());
  std::memset(memory.Bucket(9, 4999), 1, IndexMemory::kBucketBytes);
  memory.Reset();
  ASSERT_TRUE(memory.Reserve(9, 5000).ok());
  EXPECT_EQ(*static_cast<char*>(memory.Bucket(9, 4999)), 0);
}

TEST(IndexMemoryTest, RefusesWhatNoIndexNeeds) {
  IndexMemory memory;
  const absl::Status status = memory.Reserve(3, uint64_t{1} << 40);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory.memory_bytes(), 0);
  EXPECT_TRUE(memory.Reserve(3, 10).ok());
}

}  // namespace
}  // namespace monolith
