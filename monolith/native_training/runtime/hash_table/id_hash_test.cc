#include "monolith/native_training/runtime/hash_table/id_hash.h"

#include <limits>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/stripe_hash.h"

namespace monolith {
namespace {

// How far counts are from equal, as chi-squared per degree of freedom: about 1
// for random ones.
double Unevenness(const std::vector<int64_t>& counts) {
  double total = 0;
  for (int64_t count : counts) total += static_cast<double>(count);
  const double expected = total / static_cast<double>(counts.size());
  double sum = 0;
  for (int64_t count : counts) {
    const double difference = static_cast<double>(count) - expected;
    sum += difference * difference / expected;
  }
  return sum / static_cast<double>(counts.size() - 1);
}

TEST(IdHashTest, ExtremeIdsHaveDistinctHashes) {
  std::set<uint64_t> hashes;
  const std::vector<int64_t> ids = {0, -1, 1,
                                    std::numeric_limits<int64_t>::min(),
                                    std::numeric_limits<int64_t>::max()};
  for (int64_t id : ids) hashes.insert(HashId(id));
  EXPECT_EQ(hashes.size(), ids.size());
}

TEST(IdHashTest, StridedIdsSpreadEvenly) {
  for (int64_t stride : {int64_t{1}, int64_t{-1}, int64_t{64}, int64_t{1000},
                         int64_t{1} << 32, int64_t{1} << 50}) {
    for (int shards : {2, 3, 7, 64}) {
      std::vector<int64_t> by_shard(shards), by_stripe(kNumStripes);
      for (int64_t i = 0; i < 8192; ++i) {
        ++by_shard[ShardOfId(i * stride, shards)];
        ++by_stripe[StripeOfHash(HashId(i * stride))];
      }
      EXPECT_LT(Unevenness(by_shard), 10) << stride << " " << shards;
      EXPECT_LT(Unevenness(by_stripe), 3) << stride;
    }
  }
}

TEST(IdHashTest, IdsOfOneShardSpreadOverStripes) {
  std::vector<int64_t> by_stripe(kNumStripes);
  for (int64_t id = 0; id < 200000; ++id) {
    if (ShardOfId(id, 16) == 5) ++by_stripe[StripeOfHash(HashId(id))];
  }
  EXPECT_LT(Unevenness(by_stripe), 3);
}

TEST(IdHashTest, ShardsAreInRange) {
  for (int64_t id : {int64_t{0}, std::numeric_limits<int64_t>::min(),
                     std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(ShardOfId(id, 1), 0);
    for (int shards : {2, 1000, std::numeric_limits<int>::max()}) {
      EXPECT_GE(ShardOfId(id, shards), 0);
      EXPECT_LT(ShardOfId(id, shards), shards);
    }
  }
}

// Checkpoints of several servers rely on these values.
TEST(IdHashTest, ShardsStayWhatTheyWere) {
  std::vector<int> shards;
  for (int64_t id = -4; id < 4; ++id) shards.push_back(ShardOfId(id, 1000));
  EXPECT_EQ(shards, (std::vector<int>{954, 872, 751, 445, 78, 902, 596, 31}));
}

}  // namespace
}  // namespace monolith
