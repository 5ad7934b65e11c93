#include "monolith/native_training/runtime/batch/id_sharder.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/batch/request_format.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/id_hash.h"

namespace monolith {
namespace {

using Ids = std::vector<int64_t>;

struct Sharded {
  std::vector<Ids> requests;
  Ids index;
};

Sharded ShardIds(IdSharder& sharder, int num_shards,
                 const std::vector<Ids>& ids,
                 Executor& executor = InlineExecutor::Get()) {
  std::vector<absl::Span<const int64_t>> spans(ids.begin(), ids.end());
  size_t num_ids = 0;
  for (const Ids& feature : ids) num_ids += feature.size();
  Sharded result;
  result.index.assign(num_ids, -7);
  const absl::Status status =
      sharder.Shard(spans, executor, absl::MakeSpan(result.index));
  EXPECT_TRUE(status.ok()) << status;
  std::vector<absl::Span<int64_t>> requests;
  for (int s = 0; s < num_shards; ++s) {
    result.requests.emplace_back(sharder.RequestSize(s), -7);
  }
  for (Ids& request : result.requests) {
    requests.push_back(absl::MakeSpan(request));
  }
  sharder.WriteRequests(requests);
  return result;
}

// The same by std::map, table after table.
Sharded Oracle(const IdSharder::Options& options, const std::vector<Ids>& ids) {
  const int num_tables = static_cast<int>(options.table_dims.size());
  Sharded result;
  result.requests.assign(options.num_shards, Ids(num_tables, 0));
  std::vector<Ids> index(ids.size());
  Ids offsets(options.num_shards, 0);
  for (int t = 0; t < num_tables; ++t) {
    std::map<int64_t, int64_t> entries;
    for (size_t f = 0; f < ids.size(); ++f) {
      if (options.table_of_feature[f] != t) continue;
      for (int64_t id : ids[f]) {
        if (entries.count(id) == 0) {
          const int shard = ShardOfId(id, options.num_shards);
          entries[id] = EncodeIndex(shard, offsets[shard]);
          offsets[shard] += options.table_dims[t];
          result.requests[shard].push_back(id);
          ++result.requests[shard][t];
        }
        index[f].push_back(entries[id]);
      }
    }
  }
  for (int t = 0; t < num_tables; ++t) {
    const auto& counted = options.counted_tables;
    if (std::count(counted.begin(), counted.end(), t) == 0) continue;
    std::map<int64_t, int64_t> occurrences;
    for (size_t f = 0; f < ids.size(); ++f) {
      if (options.table_of_feature[f] != t) continue;
      for (int64_t id : ids[f]) ++occurrences[id];
    }
    for (Ids& request : result.requests) {
      const int64_t first =
          std::accumulate(request.begin(), request.begin() + t,
                          int64_t{num_tables}, [](int64_t sum, int64_t count) {
                            return sum + (count & ~kOccurrencesFlag);
                          });
      std::vector<uint16_t> packed;
      for (int64_t i = first; i < first + request[t]; ++i) {
        packed.push_back(static_cast<uint16_t>(
            std::min(occurrences[request[i]], kMaxOccurrences)));
      }
      Ids numbers(OccurrenceNumbers(request[t]));
      PackOccurrences(packed, absl::MakeSpan(numbers));
      request[t] += kOccurrencesFlag;
      request.insert(request.end(), numbers.begin(), numbers.end());
    }
  }
  for (const Ids& feature : index) {
    result.index.insert(result.index.end(), feature.begin(), feature.end());
  }
  return result;
}

void ExpectSame(const Sharded& got, const Sharded& wanted) {
  EXPECT_EQ(got.requests, wanted.requests);
  EXPECT_EQ(got.index, wanted.index);
}

TEST(IdSharderTest, OneShardExample) {
  IdSharder::Options options{1, {0, 1}, {4, 8}};
  auto sharder = IdSharder::Create(options);
  ASSERT_TRUE(sharder.ok()) << sharder.status();
  const Sharded got = ShardIds(*sharder, 1, {{7, 9, 7}, {5}});
  EXPECT_EQ(got.requests[0], (Ids{2, 1, 7, 9, 5}));
  EXPECT_EQ(got.index, (Ids{0, 4, 0, 8}));
}

TEST(IdSharderTest, CountsOccurrencesWhereAsked) {
  IdSharder::Options options{1, {0, 1, 0}, {4, 8}, {0}};
  auto sharder = IdSharder::Create(options);
  ASSERT_TRUE(sharder.ok()) << sharder.status();
  const Ids many(70000, 9);
  const Sharded got = ShardIds(*sharder, 1, {{7, 9, 7}, {5}, many});
  EXPECT_EQ(got.requests[0], (Ids{2 + kOccurrencesFlag, 1, 7, 9, 5,
                                  2 + (int64_t{65535} << 16)}));
}

TEST(IdSharderTest, FeaturesOfOneTableShareRows) {
  IdSharder::Options options{1, {1, 0, 1}, {2, 3}};
  auto sharder = IdSharder::Create(options);
  ASSERT_TRUE(sharder.ok()) << sharder.status();
  const Sharded got = ShardIds(*sharder, 1, {{5, 6}, {5}, {6, 8}});
  EXPECT_EQ(got.requests[0], (Ids{1, 3, 5, 5, 6, 8}));
  EXPECT_EQ(got.index, (Ids{2, 5, 0, 5, 8}));
}

TEST(IdSharderTest, EmptyBatchAndExtremeIds) {
  IdSharder::Options options{3, {0, 0}, {4}};
  auto sharder = IdSharder::Create(options);
  ASSERT_TRUE(sharder.ok()) << sharder.status();
  EXPECT_EQ(ShardIds(*sharder, 3, {{}, {}}).requests,
            (std::vector<Ids>{{0}, {0}, {0}}));
  using Limits = std::numeric_limits<int64_t>;
  const std::vector<Ids> ids = {{0, -1, Limits::min()}, {Limits::max(), 0, -1}};
  ExpectSame(ShardIds(*sharder, 3, ids), Oracle(options, ids));
}

TEST(IdSharderTest, RandomBatchesMatchOracle) {
  std::mt19937_64 random(20240607);
  ThreadPoolExecutor pool(3);
  for (int round = 0; round < 60; ++round) {
    IdSharder::Options options;
    options.num_shards = 1 + random() % 5;
    const int num_tables = 1 + random() % 4;
    const int num_features = 1 + random() % 6;
    for (int t = 0; t < num_tables; ++t) {
      options.table_dims.push_back(1 + random() % 64);
      if (random() % 3 == 0) options.counted_tables.push_back(t);
    }
    for (int f = 0; f < num_features; ++f) {
      options.table_of_feature.push_back(random() % num_tables);
    }
    auto sharder = IdSharder::Create(options);
    ASSERT_TRUE(sharder.ok()) << sharder.status();
    // Batches of all sizes through one object: scratch must not leak over.
    for (int64_t largest : {3000, 0, 40, 30000}) {
      const uint64_t vocabulary = 1 + random() % (2 * largest + 2);
      std::vector<Ids> ids(num_features);
      for (Ids& feature : ids) {
        feature.resize(largest == 0 ? 0 : random() % largest);
        for (int64_t& id : feature) {
          id = static_cast<int64_t>(random() % vocabulary) * 1024 - 5000;
        }
      }
      const Sharded wanted = Oracle(options, ids);
      ExpectSame(ShardIds(*sharder, options.num_shards, ids), wanted);
      ExpectSame(ShardIds(*sharder, options.num_shards, ids, pool), wanted);
    }
  }
}

TEST(IdSharderTest, RejectsBadOptions) {
  const auto create = [](int num_shards, std::vector<int> table_of_feature,
                         std::vector<int64_t> table_dims) {
    return IdSharder::Create(
               {num_shards, std::move(table_of_feature), std::move(table_dims)})
        .ok();
  };
  EXPECT_TRUE(create(1, {0}, {4}));
  EXPECT_FALSE(create(0, {0}, {4}));
  EXPECT_FALSE(create(kMaxShards + 1, {0}, {4}));
  EXPECT_FALSE(create(1, {}, {4}));
  EXPECT_FALSE(create(1, {0}, {}));
  EXPECT_FALSE(create(1, {1}, {4}));
  EXPECT_FALSE(create(1, {-1}, {4}));
  EXPECT_FALSE(create(1, {0}, {0}));
  EXPECT_FALSE(create(1, {0}, {kMaxRowFloats + 1}));
  EXPECT_TRUE(IdSharder::Create({1, {0}, {4}, {0}}).ok());
  EXPECT_FALSE(IdSharder::Create({1, {0}, {4}, {1}}).ok());
  EXPECT_FALSE(IdSharder::Create({1, {0}, {4}, {-1}}).ok());
}

TEST(IdSharderTest, RejectsBadBatches) {
  auto sharder = IdSharder::Create({1, {0, 0}, {4}});
  ASSERT_TRUE(sharder.ok()) << sharder.status();
  const Ids ids = {1, 2};
  Ids index(4);
  InlineExecutor executor;
  EXPECT_FALSE(sharder->Shard({ids}, executor, absl::MakeSpan(index)).ok());
  EXPECT_FALSE(sharder->Shard({ids, {}}, executor, absl::MakeSpan(index)).ok());
  EXPECT_TRUE(sharder->Shard({ids, ids}, executor, absl::MakeSpan(index)).ok());
}

}  // namespace
}  // namespace monolith
