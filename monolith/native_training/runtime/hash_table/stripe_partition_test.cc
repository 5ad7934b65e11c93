#include "monolith/native_training/runtime/hash_table/stripe_partition.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

TEST(StripePartitionTest, GroupsAllPositionsInOrder) {
  ThreadPoolExecutor pool(3);
  for (size_t n : {0, 1, 100, 50000}) {
    std::vector<int64_t> ids(n);
    for (size_t i = 0; i < n; ++i) ids[i] = static_cast<int64_t>(i % 5000);
    const StripePartition partition(ids, pool);
    size_t total = 0;
    for (int stripe = 0; stripe < kNumStripes; ++stripe) {
      const auto positions = partition.Positions(stripe, stripe + 1);
      total += positions.size();
      EXPECT_TRUE(std::is_sorted(positions.begin(), positions.end()));
      for (uint32_t position : positions) {
        EXPECT_EQ(StripeOfHash(HashId(ids[position])), stripe);
      }
    }
    EXPECT_EQ(total, n);
    const StripePartition serial(ids, InlineExecutor::Get());
    EXPECT_EQ(serial.Positions(0, kNumStripes),
              partition.Positions(0, kNumStripes));
  }
}

}  // namespace
}  // namespace monolith
