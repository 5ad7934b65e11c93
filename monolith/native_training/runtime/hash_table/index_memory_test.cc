#include "monolith/native_training/runtime/hash_table/index_memory.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"

namespace monolith {
namespace {

TEST(IndexMemoryTest, EveryStripeHasBucketsOfItsOwn) {
  IndexMemory memory;
  constexpr uint64_t kBuckets = 9000;  // in several chunks
  ASSERT_TRUE(memory.Reserve(kBuckets).ok());
  for (int stripe = 0; stripe < kNumStripes; ++stripe) {
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
  ASSERT_TRUE(memory.Reserve(3).ok());
  void* const bucket = memory.Bucket(5, 2);
  std::memset(bucket, 1, IndexMemory::kBucketBytes);
  for (uint64_t n = 4; n < 300000; n += n / 4) {
    ASSERT_TRUE(memory.Reserve(n).ok());
    EXPECT_EQ(memory.Bucket(5, 2), bucket);
    EXPECT_EQ(*static_cast<char*>(memory.Bucket(5, n - 1)), 0);
  }
  EXPECT_EQ(*static_cast<char*>(bucket), 1);
}

TEST(IndexMemoryTest, CountsThePagesThatAreTouched) {
  IndexMemory memory;
  EXPECT_EQ(memory.memory_bytes(), 0);
  ASSERT_TRUE(memory.Reserve(1025).ok());
  EXPECT_EQ(memory.memory_bytes(), 0);
  const auto touch = [&](int stripe, uint64_t bucket) {
    std::memset(memory.Bucket(stripe, bucket), 1, IndexMemory::kBucketBytes);
  };
  touch(0, 0);
  touch(0, 63);
  EXPECT_EQ(memory.memory_bytes(), 4096);
  touch(0, 64);
  touch(63, 0);
  EXPECT_EQ(memory.memory_bytes(), 3 * 4096);
  touch(0, 1024);
  touch(1, 1024);
  // Two pages, or the huge page which they share.
  EXPECT_GE(memory.memory_bytes(), 5 * 4096);
  EXPECT_LE(memory.memory_bytes(), 3 * 4096 + (2 << 20));
  memory.Reset();
  EXPECT_EQ(memory.memory_bytes(), 0);
}

TEST(IndexMemoryTest, IsZeroAfterAReset) {
  IndexMemory memory;
  ASSERT_TRUE(memory.Reserve(5000).ok());
  std::memset(memory.Bucket(9, 4999), 1, IndexMemory::kBucketBytes);
  memory.Reset();
  ASSERT_TRUE(memory.Reserve(5000).ok());
  EXPECT_EQ(*static_cast<char*>(memory.Bucket(9, 4999)), 0);
}

TEST(IndexMemoryTest, RefusesWhatNoIndexNeeds) {
  IndexMemory memory;
  const absl::Status status = memory.Reserve(uint64_t{1} << 40);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory.memory_bytes(), 0);
  EXPECT_TRUE(memory.Reserve(10).ok());
}

}  // namespace
}  // namespace monolith
