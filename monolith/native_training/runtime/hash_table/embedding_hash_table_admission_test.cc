// Which ids get a row in a table with an occurrence_threshold.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using MissingId = EmbeddingHashTable::MissingId;
using UpdateOptions = EmbeddingHashTable::UpdateOptions;

// SGD with a learning rate of 1 and 1 as the initial value.
TableConfig CountingTable(int threshold, int dim = 1) {
  TableConfig config = OneSegment(dim, {"sgd", {{"learning_rate", 1}}});
  config.segments[0].initializer = {"constants", {{"constant", 1}}};
  config.occurrence_threshold = threshold;
  return config;
}

void Train(EmbeddingHashTable& table, const std::vector<int64_t>& ids,
           float gradient, UpdateOptions options = {},
           Executor& executor = InlineExecutor::Get()) {
  const std::vector<float> gradients(
      ids.size() * static_cast<size_t>(table.dim()), gradient);
  ASSERT_TRUE(table.ApplyGradients(ids, gradients, options, executor).ok());
}

TEST(AdmissionTest, ReadsZerosUntilTheThresholdThOccurrenceTrains) {
  for (const int threshold : {1, 2, 5}) {
    auto table = MakeTable(CountingTable(threshold));
    for (int i = 1; i < threshold; ++i) {
      Train(*table, {7}, 0.25f);
      EXPECT_EQ(table->size(), 0);
      EXPECT_THAT(LookupAll(*table, {7}), ElementsAre(0));
    }
    Train(*table, {7}, 0.25f);
    EXPECT_THAT(LookupAll(*table, {7, 8}), ElementsAre(0.75f, 0));
    EXPECT_THAT(LookupAll(*table, {7, 8}, MissingId::kZero),
                ElementsAre(0.75f, 0));
    Train(*table, {7}, 0.25f);
    EXPECT_THAT(LookupAll(*table, {7}), ElementsAre(0.5f));
  }
}

TEST(AdmissionTest, RepeatedIdsOfABatchCountEach) {
  auto table = MakeTable(CountingTable(5));
  Train(*table, {7, 8, 7, 8}, 0.25f);
  EXPECT_EQ(table->size(), 0);
  // The third, fourth and fifth of 7: the whole batch trains the row.
  Train(*table, {7, 8, 7, 8, 7}, 0.125f);
  EXPECT_EQ(table->size(), 1);
  EXPECT_THAT(LookupAll(*table, {7, 8}), ElementsAre(1 - 3 * 0.125f, 0));
}

TEST(AdmissionTest, GivenOccurrencesCount) {
  for (const bool unique : {true, false}) {
    auto table = MakeTable(CountingTable(5));
    const std::vector<uint16_t> occurrences = {4, 5, 1};
    UpdateOptions options;
    options.occurrences = occurrences;
    options.ids_are_unique = unique;
    Train(*table, {1, 2, 3}, 0.25f, options);
    EXPECT_THAT(LookupAll(*table, {1, 2, 3}), ElementsAre(0, 0.75f, 0));
    Train(*table, {1, 2, 3}, 0.25f, options);
    EXPECT_THAT(LookupAll(*table, {1, 2, 3}), ElementsAre(0.75f, 0.5f, 0));
  }
}

TEST(AdmissionTest, OccurrencesMustMatchTheIds) {
  auto table = MakeTable(CountingTable(2));
  const std::vector<uint16_t> occurrences = {1, 1, 1};
  UpdateOptions options;
  options.occurrences = occurrences;
  const absl::Status status = table->ApplyGradients({1, 2}, {1, 1}, options);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("occurrences must have 2 x 1 = 2 entries"));
}

TEST(AdmissionTest, AssigningAdmitsAtOnce) {
  auto table = MakeTable(CountingTable(100));
  ASSERT_TRUE(table->Assign({1}, {5}, 0).ok());
  ASSERT_TRUE(table->AssignAdd({2}, {5}, 0).ok());
  Train(*table, {1, 2, 3}, 1);
  EXPECT_THAT(LookupAll(*table, {1, 2, 3}), ElementsAre(4, 5, 0));
}

TEST(AdmissionTest, LosingARowMeansANewTrial) {
  TableConfig config = CountingTable(2);
  config.expire_time_days = 1;
  auto table = MakeTable(config);
  Train(*table, {1, 1, 2, 2}, 0);
  EXPECT_EQ(table->size(), 2);
  ASSERT_EQ(*table->Erase({1}), 1);
  ASSERT_EQ(table->Evict(200000), 1);
  Train(*table, {1, 2}, 0);
  EXPECT_EQ(table->size(), 0);
  Train(*table, {1, 2}, 0);
  EXPECT_EQ(table->size(), 2);
}

TEST(AdmissionTest, ClearForgetsTrials) {
  auto table = MakeTable(CountingTable(2));
  const int64_t bytes = table->memory_bytes();
  Train(*table, {1}, 0);
  EXPECT_GT(table->memory_bytes(), bytes);
  table->Clear();
  EXPECT_EQ(table->memory_bytes(), bytes);
  Train(*table, {1}, 0);
  EXPECT_EQ(table->size(), 0);
}

TEST(AdmissionTest, ARejectedBatchCountsNothing) {
  auto table = MakeTable(CountingTable(2));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(table->ApplyGradients({1, 2}, {1, nan}, {}).ok());
  Train(*table, {1, 2}, 0);
  EXPECT_EQ(table->size(), 0);
}

TEST(AdmissionTest, ExportedTrialsCountOn) {
  TableConfig config = CountingTable(5);
  config.admission_capacity = 10000;
  auto table = MakeTable(config);
  std::vector<int64_t> ids(3000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  for (int i = 0; i < 4; ++i) Train(*table, ids, 0);
  Train(*table, {0, 1, 2}, 0);

  auto copy = MakeTable(config);
  config.admission_capacity *= 2;
  auto larger = MakeTable(config);
  auto without = MakeTable(CountingTable(0));
  size_t num_trials = 0;
  for (int stripe = 0; stripe < table->num_stripes(); ++stripe) {
    EmbeddingHashTable::RowBatch rows;
    TrialBatch trials;
    ASSERT_TRUE(table->ExportStripe(stripe, &rows, &trials).ok());
    num_trials += trials.trials.size();
    EXPECT_TRUE(*copy->ImportTrials(stripe, trials));
    EXPECT_FALSE(*larger->ImportTrials(stripe, trials));
    EXPECT_FALSE(*without->ImportTrials(stripe, trials));
    ASSERT_TRUE(without->ExportStripe(stripe, &rows, &trials).ok());
    EXPECT_EQ(trials.num_buckets, 0u);
    EXPECT_TRUE(trials.trials.empty());
  }
  EXPECT_EQ(num_trials, ids.size() - 3) << "an id with a row is not on trial";
  EXPECT_EQ(copy->size(), 0);
  Train(*copy, ids, 0);
  EXPECT_EQ(copy->size(), static_cast<int64_t>(ids.size()) - 3);
}

TEST(AdmissionTest, ImpossibleTrialsAreRefused) {
  auto table = MakeTable(CountingTable(5));
  EmbeddingHashTable::RowBatch rows;
  TrialBatch trials;
  ASSERT_TRUE(table->ExportStripe(0, &rows, &trials).ok());
  trials.trials = {{trials.num_buckets, 0, 1, 0}};
  EXPECT_THAT(std::string(table->ImportTrials(0, trials).status().message()),
              HasSubstr("table 'test': a trial does not fit into the filter"));
  EXPECT_THAT(std::string(table->ImportTrials(64, trials).status().message()),
              HasSubstr("stripe must be from 0 to 63, got 64"));
}

// A broken promise of unique ids may count and train one after the other, but
// never gives an id two rows.
TEST(AdmissionTest, IdsThatAreNotUniqueAsPromisedGetOneRow) {
  auto table = MakeTable(CountingTable(2));
  UpdateOptions options;
  options.ids_are_unique = true;
  Train(*table, std::vector<int64_t>(100, 7), 0, options);
  EXPECT_EQ(table->size(), 1);
}

// Threads and batches differ; who is admitted and what the rows are does not.
TEST(AdmissionTest, AgreesWithAnOracle) {
  constexpr uint64_t kIds = 3000;
  ThreadPoolExecutor executor(3);
  for (const int threshold : {1, 3, 40}) {
    std::mt19937_64 random(static_cast<uint64_t>(threshold));
    auto table = MakeTable(CountingTable(threshold, 3));
    std::unordered_map<int64_t, int64_t> occurred;
    std::unordered_map<int64_t, float> rows;
    for (int batch = 0; batch < 60; ++batch) {
      std::vector<int64_t> ids;
      const size_t n = batch % 2 ? 5000 : 300;
      for (size_t i = 0; i < n; ++i) {
        // Few ids often, many seldom.
        const double u = static_cast<double>(random() >> 11) * 0x1p-53;
        ids.push_back(static_cast<int64_t>(u * u * u * kIds) - 50);
      }
      constexpr float kGradient = 1.0f / 64;
      std::unordered_map<int64_t, int> in_batch;
      for (int64_t id : ids) ++in_batch[id];
      for (const auto& [id, count] : in_batch) {
        occurred[id] += count;
        if (rows.count(id) == 0 && occurred[id] < threshold) continue;
        float& row = rows.emplace(id, 1.0f).first->second;
        row -= static_cast<float>(count) * kGradient;
      }
      Train(*table, ids, kGradient, {}, executor);
    }
    ASSERT_EQ(table->size(), static_cast<int64_t>(rows.size()));
    std::vector<int64_t> all;
    for (int64_t id = -60; id < static_cast<int64_t>(kIds); ++id) {
      all.push_back(id);
    }
    const std::vector<float> values = LookupAll(*table, all);
    for (size_t i = 0; i < all.size(); ++i) {
      const auto it = rows.find(all[i]);
      const float expected = it == rows.end() ? 0 : it->second;
      for (size_t j = 0; j < 3; ++j) {
        ASSERT_EQ(values[3 * i + j], expected) << "id " << all[i];
      }
    }
  }
}

// Concurrent trainers lose no occurrence.
TEST(AdmissionTest, ThreadsCountTogether) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 25;
  constexpr int64_t kIds = 2000;
  auto table = MakeTable(CountingTable(kThreads * kRounds));
  std::vector<int64_t> ids(kIds);
  for (int64_t i = 0; i < kIds; ++i) ids[static_cast<size_t>(i)] = i;
  const auto train = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) Train(*table, ids, 0.5f);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back(train, t == 0 ? kRounds - 1 : kRounds);
  }
  std::vector<float> values(kIds);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(
        table->Lookup(ids, MissingId::kInitialValue, absl::MakeSpan(values))
            .ok());
    EXPECT_THAT(values, Each(0));
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(table->size(), 0);
  train(1);
  EXPECT_EQ(table->size(), kIds);
  EXPECT_THAT(LookupAll(*table, ids), Each(0.5f));
}

}  // namespace
}  // namespace monolith
