// What each operation promises, one by one.

#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "monolith/native_training/runtime/concurrency/thread_pool_executor.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using MissingId = EmbeddingHashTable::MissingId;
using UpdateOptions = EmbeddingHashTable::UpdateOptions;

const OptimizerConfig kSgd = {"sgd", {{"learning_rate", 1}}};
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(EmbeddingHashTableTest, EveryIdIsLegal) {
  auto table = MakeTable(OneSegment(1, kSgd));
  const std::vector<int64_t> ids = {0, -1, kMin, kMax, 1};
  ASSERT_TRUE(table->Assign(ids, {1, 2, 3, 4, 5}, 0).ok());
  EXPECT_EQ(table->size(), 5);
  EXPECT_THAT(LookupAll(*table, {kMax, kMin, -1, 0, 1}),
              ElementsAre(4, 3, 2, 1, 5));
}

TEST(EmbeddingHashTableTest, ReadingNeverInserts) {
  auto table = MakeTable(OneSegment(3, kSgd));
  const auto initial = LookupAll(*table, {5, kMin});
  EXPECT_EQ(LookupAll(*table, {5, kMin}), initial);
  EXPECT_THAT(LookupAll(*table, {5}, MissingId::kZero), ElementsAre(0, 0, 0));
  EXPECT_EQ(table->size(), 0);
  for (float value : initial) EXPECT_NE(value, 0);
}

TEST(EmbeddingHashTableTest, ARowStartsAtTheValueThatWasReadBefore) {
  auto table = MakeTable(OneSegment(2, kSgd));
  const auto initial = LookupAll(*table, {5, 6, 7});
  ASSERT_TRUE(table->ApplyGradients({6}, {1, -2}, {}).ok());
  ASSERT_TRUE(table->AssignAdd({7}, {3, 4}, 0).ok());
  const auto values = LookupAll(*table, {5, 6, 7});
  EXPECT_THAT(values,
              ElementsAre(initial[0], initial[1], initial[2] - 1,
                          initial[3] + 2, initial[4] + 3, initial[5] + 4));
  EXPECT_EQ(table->size(), 2);
}

TEST(EmbeddingHashTableTest, OfARepeatedIdTheLastAssignedValueWins) {
  auto table = MakeTable(OneSegment(1, kSgd));
  ASSERT_TRUE(table->Assign({4, 9, 4, 4}, {1, 2, 3, 5}, 0).ok());
  EXPECT_THAT(LookupAll(*table, {4, 9}), ElementsAre(5, 2));
}

TEST(EmbeddingHashTableTest, AllAddedValuesOfARepeatedIdCount) {
  auto table = MakeTable(OneSegment(1, kSgd));
  ASSERT_TRUE(table->Assign({4}, {100}, 0).ok());
  ASSERT_TRUE(table->AssignAdd({4, 4, 4}, {1, 2, 3}, 0).ok());
  EXPECT_THAT(LookupAll(*table, {4}), ElementsAre(106));
}

TEST(EmbeddingHashTableTest, SumsStayFinite) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  auto table = MakeTable(OneSegment(2, kSgd));
  ASSERT_TRUE(table->Assign({4}, {kLargest, -kLargest}, 0).ok());
  ASSERT_TRUE(table->AssignAdd({4, 4}, {3e38f, -3e38f, 0, 1e38f}, 0).ok());
  EXPECT_THAT(LookupAll(*table, {4}), ElementsAre(kLargest, -kLargest + 1e38f));
}

TEST(EmbeddingHashTableTest, GradientsOfARepeatedIdAreSummedThenAppliedOnce) {
  auto table = MakeTable(OneSegment(
      1,
      {"adagrad", {{"learning_rate", 1}, {"initial_accumulator_value", 7}}}));
  ASSERT_TRUE(table->Assign({4}, {0}, 0).ok());
  ASSERT_TRUE(table->ApplyGradients({4, 4}, {1, 2}, {}).ok());
  EXPECT_THAT(LookupAll(*table, {4}), ElementsAre(-3 / 4.f));
  EXPECT_THAT(ExportAll(*table).states, ElementsAre(16));
}

TEST(EmbeddingHashTableTest, AssignKeepsTheStateOfAnExistingRow) {
  auto table =
      MakeTable(OneSegment(1, {"adagrad", {{"initial_accumulator_value", 7}}}));
  ASSERT_TRUE(table->Assign({1}, {0}, 0).ok());
  ASSERT_TRUE(table->ApplyGradients({1}, {3}, {}).ok());
  ASSERT_TRUE(table->Assign({1}, {5}, 0).ok());
  EXPECT_THAT(ExportAll(*table).states, ElementsAre(16));
  EXPECT_THAT(LookupAll(*table, {1}), ElementsAre(5));
}

TEST(EmbeddingHashTableTest, LearningRatesAreThoseOfTheUpdateOrTheConfig) {
  TableConfig config = OneSegment(1, {"sgd", {{"learning_rate", 0.5}}});
  config.segments.push_back(TestSegment(2, kSgd));
  auto table = MakeTable(config);
  ASSERT_TRUE(table->Assign({1}, {0, 0, 0}, 0).ok());
  ASSERT_TRUE(table->ApplyGradients({1}, {1, 1, 1}, {}).ok());
  EXPECT_THAT(LookupAll(*table, {1}), ElementsAre(-0.5f, -1, -1));
  const std::vector<float> rates = {2, 4};
  UpdateOptions options;
  options.learning_rates = rates;
  ASSERT_TRUE(table->ApplyGradients({1}, {1, 1, 1}, options).ok());
  EXPECT_THAT(LookupAll(*table, {1}), ElementsAre(-2.5f, -5, -5));
}

TEST(EmbeddingHashTableTest, ErasedIdsReadTheirInitialValueAgain) {
  auto table = MakeTable(OneSegment(1, kSgd));
  const auto initial = LookupAll(*table, {1, 2});
  ASSERT_TRUE(table->Assign({1, 2}, {10, 20}, 0).ok());
  auto erased = table->Erase({1, 3, 1});
  ASSERT_TRUE(erased.ok());
  EXPECT_EQ(*erased, 1);
  EXPECT_EQ(table->size(), 1);
  EXPECT_THAT(LookupAll(*table, {1, 2}), ElementsAre(initial[0], 20));
}

TEST(EmbeddingHashTableTest, EvictsByUpdateTime) {
  TableConfig config = OneSegment(1, kSgd);
  config.expire_time_days = 0.5;  // 43,200 seconds
  auto table = MakeTable(config);
  ASSERT_TRUE(table->Assign({1}, {0}, 1000).ok());
  ASSERT_TRUE(table->Assign({2, 3}, {0, 0}, 1001).ok());
  UpdateOptions options;
  options.update_time = 5000;
  ASSERT_TRUE(table->ApplyGradients({3}, {0}, options).ok());
  EXPECT_EQ(table->Evict(100), 0);  // earlier than a whole period
  EXPECT_EQ(table->Evict(1000 + 43200), 0);
  EXPECT_EQ(table->Evict(1001 + 43200), 1);
  EXPECT_EQ(table->Evict(1002 + 43200), 1);
  EXPECT_THAT(ExportAll(*table).ids, ElementsAre(3));
  EXPECT_EQ(table->Evict(std::numeric_limits<uint32_t>::max()), 1);
  EXPECT_EQ(table->size(), 0);
}

TEST(EmbeddingHashTableTest, PartsOfAnEvictionMakeUpAll) {
  TableConfig config = OneSegment(1, kSgd);
  config.expire_time_days = 1;
  constexpr int64_t kRows = 5000;
  std::vector<int64_t> ids(kRows);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  for (int num_parts : {1, 3, 64, 100}) {
    auto table = MakeTable(config);
    ASSERT_TRUE(table->Assign(ids, std::vector<float>(kRows), 0).ok());
    ASSERT_TRUE(table->Assign({7}, {0}, 100000).ok());
    int64_t evicted = 0;
    for (int part = 0; part < num_parts; ++part) {
      const int64_t count = table->EvictPart(100000, part, num_parts);
      EXPECT_LE(count, 1.5 * kRows / std::min(num_parts, 64));
      evicted += count;
      EXPECT_EQ(table->size(), kRows - evicted);
    }
    EXPECT_THAT(ExportAll(*table).ids, ElementsAre(7));
  }
}

TEST(EmbeddingHashTableTest, AClearedTableIsAsNew) {
  auto table = MakeTable(OneSegment(4, kSgd));
  const int64_t bytes = table->memory_bytes();
  const auto initial = LookupAll(*table, {17});
  std::vector<int64_t> ids(10000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int64_t>(i);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(table->Assign(ids, std::vector<float>(40000, 1), 0).ok());
    EXPECT_EQ(table->size(), 10000);
    table->Clear();
    EXPECT_EQ(table->size(), 0);
    EXPECT_LE(table->memory_bytes(), bytes + 4096);
    EXPECT_EQ(LookupAll(*table, {17}), initial);
  }
}

TEST(EmbeddingHashTableTest, ExportedRowsCanBeImported) {
  TableConfig config = OneSegment(2, {"adagrad", {}});
  config.segments.push_back(TestSegment(1, kSgd));
  auto table = MakeTable(config);
  const std::vector<int64_t> ids = {0, -1, kMin, kMax, 5};
  UpdateOptions options;
  options.update_time = 123;
  ASSERT_TRUE(
      table->ApplyGradients(ids, std::vector<float>(15, 0.5f), options).ok());
  const EmbeddingHashTable::RowBatch rows = ExportAll(*table);
  EXPECT_EQ(rows.ids.size(), 5u);

  auto copy = MakeTable(config);
  ASSERT_TRUE(copy->Assign({5}, {9, 9, 9}, 1).ok());  // is overwritten
  ASSERT_TRUE(copy->ImportRows(rows.ids, rows.embeddings, rows.states,
                               rows.update_times)
                  .ok());
  EXPECT_EQ(copy->size(), 5);
  EXPECT_EQ(LookupAll(*copy, ids), LookupAll(*table, ids));
  ASSERT_TRUE(
      table->ApplyGradients(ids, std::vector<float>(15, -2), options).ok());
  ASSERT_TRUE(
      copy->ApplyGradients(ids, std::vector<float>(15, -2), options).ok());
  EXPECT_EQ(LookupAll(*copy, ids), LookupAll(*table, ids));
  EXPECT_THAT(ExportAll(*copy).update_times, testing::Each(123u));
}

TEST(EmbeddingHashTableTest, ResultsDoNotDependOnThreadsOrOrder) {
  ThreadPoolExecutor pool(4);
  auto serial = MakeTable(OneSegment(8, {"adagrad", {}}));
  auto parallel = MakeTable(OneSegment(8, {"adagrad", {}}));
  std::mt19937_64 random(5);
  std::vector<int64_t> all(30000);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  std::vector<int64_t> reversed(all.rbegin(), all.rend());
  std::vector<float> ones(8 * all.size(), 1);
  ASSERT_TRUE(serial->AssignAdd(all, ones, 0).ok());
  ASSERT_TRUE(parallel->AssignAdd(reversed, ones, 0, pool).ok());
  for (int step = 0; step < 5; ++step) {
    std::vector<int64_t> ids(20000);
    std::vector<float> gradients(8 * ids.size());
    for (int64_t& id : ids) id = static_cast<int64_t>(random() % 40000);
    for (float& g : gradients) g = static_cast<float>(random() % 100) / 7;
    ASSERT_TRUE(serial->ApplyGradients(ids, gradients, {}).ok());
    ASSERT_TRUE(parallel->ApplyGradients(ids, gradients, {}, pool).ok());
  }
  EXPECT_EQ(serial->size(), parallel->size());
  std::vector<float> values(ones.size());
  ASSERT_TRUE(
      parallel
          ->Lookup(all, MissingId::kInitialValue, absl::MakeSpan(values), pool)
          .ok());
  EXPECT_EQ(LookupAll(*serial, all), values);
}

TEST(EmbeddingHashTableTest, AnEmptyBatchIsFine) {
  auto table = MakeTable(OneSegment(3, kSgd));
  EXPECT_THAT(LookupAll(*table, {}), IsEmpty());
  EXPECT_TRUE(table->Assign({}, {}, 0).ok());
  EXPECT_TRUE(table->ApplyGradients({}, {}, {}).ok());
  EXPECT_EQ(*table->Erase({}), 0);
  EXPECT_TRUE(table->ImportRows({}, {}, {}, {}).ok());
}

TEST(EmbeddingHashTableTest, WrongSizesAreRefused) {
  auto table = MakeTable(OneSegment(2, {"adagrad", {}}));
  std::vector<float> three(3), four(4);
  const std::vector<int64_t> ids = {1, 2};
  const std::vector<float> rates = {1, 2};
  UpdateOptions two_rates;
  two_rates.learning_rates = rates;
  const std::vector<float> bad_rate = {std::nanf("")};
  UpdateOptions nan_rate;
  nan_rate.learning_rates = bad_rate;
  const std::vector<float> below_zero = {-0.5f};
  UpdateOptions negative_rate;
  negative_rate.learning_rates = below_zero;
  EmbeddingHashTable::RowBatch rows;
  const struct {
    absl::Status status;
    const char* error;
  } cases[] = {
      {table->Lookup(ids, MissingId::kZero, absl::MakeSpan(three)),
       "table 'test': values must have 2 x 2 = 4 entries for 2 ids, got 3"},
      {table->Assign(ids, three, 0), "values must have"},
      {table->AssignAdd(ids, three, 0), "values must have"},
      {table->ApplyGradients(ids, three, {}), "gradients must have"},
      {table->ApplyGradients(ids, four, two_rates),
       "one entry for each of the 1 segments, or none; got 2"},
      {table->ApplyGradients(ids, four, nan_rate),
       "the learning rate of segment 's2' must be finite and 0 or more, got"},
      {table->ApplyGradients(ids, four, negative_rate),
       "the learning rate of segment 's2' must be finite and 0 or more, got "
       "-0.5"},
      {table->ImportRows(ids, three, four, {1, 1}), "embeddings must have"},
      {table->ImportRows(ids, four, three, {1, 1}), "states must have"},
      {table->ImportRows(ids, four, four, {1}), "update_times must have"},
      {table->ExportStripe(-1, &rows), "from 0 to 63, got -1"},
      {table->ExportStripe(64, &rows), "from 0 to 63, got 64"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(c.status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(c.status.message()), HasSubstr(c.error));
  }
  EXPECT_EQ(table->size(), 0);
}

TEST(EmbeddingHashTableTest, ImpossibleRowsAreNotImported) {
  TableConfig config = OneSegment(1, {"adam", {}});
  config.segments.push_back(TestSegment(2, {"adagrad", {}}));
  auto table = MakeTable(config);
  // Embeddings of 3; m, v, two sums of betas; accumulators of 2.
  ASSERT_EQ(table->state_dim(), 6);
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const struct {
    size_t column;  // of all 9
    float value;
    const char* error;
  } cases[] = {
      {1, kNan, "the embedding of id 8 (row 1, column 1) is nan, wanted a"},
      {2, -kInfinity, "the embedding of id 8 (row 1, column 2) is -inf"},
      {3, kInfinity, "(row 1, column 0, of segment 's1') is inf, wanted -3.4"},
      {3, kNan, "the optimizer state of id 8 (row 1, column 0, of segment "},
      {4, -1e-30f, "column 1, of segment 's1') is -1e-30, wanted 0 to 3.402"},
      {5, 1.5f, "(row 1, column 2, of segment 's1') is 1.5, wanted 0 to 1;"},
      {7, 0, "column 4, of segment 's2') is 0, wanted 1.17549e-38 to 3.40"},
      {8, -1, "column 5, of segment 's2') is -1, wanted 1.17549e-38 to"},
  };
  for (const auto& c : cases) {
    std::vector<float> embeddings(6, 1), states(12, 0.5f);
    float& bad = c.column < 3 ? embeddings[3 + c.column] : states[3 + c.column];
    bad = c.value;
    const absl::Status status =
        table->ImportRows({7, 8}, embeddings, states, {1, 1});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                testing::AllOf(HasSubstr("table 'test': "), HasSubstr(c.error),
                               HasSubstr("no row was changed")));
    EXPECT_EQ(table->size(), 0) << c.error;
    bad = c.column == 3 ? -5 : 1;
    EXPECT_TRUE(table->ImportRows({7, 8}, embeddings, states, {1, 1}).ok());
    table->Clear();
  }
}

TEST(EmbeddingHashTableTest, NonFiniteGradientsChangeNothing) {
  auto table = MakeTable(OneSegment(2, kSgd));
  ASSERT_TRUE(table->Assign({1, 2}, {1, 2, 3, 4}, 7).ok());
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    const absl::Status status =
        table->ApplyGradients({1, 77, 2}, {1, 1, 1, bad, 1, 1}, {});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("table 'test': the gradient of id 77 (row 1, "
                          "column 1) is"));
  }
  EXPECT_EQ(table->size(), 2);
  EXPECT_THAT(LookupAll(*table, {1, 2}), ElementsAre(1, 2, 3, 4));
}

TEST(EmbeddingHashTableTest, NonFiniteValuesChangeNothing) {
  auto table = MakeTable(OneSegment(2, kSgd));
  ASSERT_TRUE(table->Assign({1, 2}, {1, 2, 3, 4}, 7).ok());
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const absl::Status& status :
         {table->Assign({1, 77}, {9, 9, 9, bad}, 8),
          table->AssignAdd({1, 77}, {9, 9, 9, bad}, 8)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr("table 'test': the value of id 77 (row 1, "
                            "column 1) is"));
    }
  }
  EXPECT_EQ(table->size(), 2);
  EXPECT_THAT(LookupAll(*table, {1, 2}), ElementsAre(1, 2, 3, 4));
}

TEST(EmbeddingHashTableTest, CreateRefusesBadConfigs) {
  TableConfig config = OneSegment(0, kSgd);
  EXPECT_EQ(EmbeddingHashTable::Create(config).status().code(),
            absl::StatusCode::kInvalidArgument);
  config = OneSegment(1, {"adamant", {}});
  EXPECT_EQ(EmbeddingHashTable::Create(config).status().code(),
            absl::StatusCode::kInvalidArgument);
  config = OneSegment(1, kSgd);
  config.occurrence_threshold = 65536;
  EXPECT_EQ(EmbeddingHashTable::Create(config).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(EmbeddingHashTableTest, TellsItsShape) {
  TableConfig config = OneSegment(2, {"adagrad", {}});
  config.segments.push_back(TestSegment(3, kSgd));
  auto table = MakeTable(config);
  EXPECT_EQ(table->dim(), 5);
  EXPECT_EQ(table->state_dim(), 2);
  EXPECT_EQ(table->num_segments(), 2);
  EXPECT_TRUE(table->config() == config);
}

TEST(EmbeddingHashTableTest, WideRowsWork) {
  auto table = MakeTable(OneSegment(TableConfig::kMaxTableDim, kSgd));
  std::vector<float> value(TableConfig::kMaxTableDim, 3);
  ASSERT_TRUE(table->Assign({1}, value, 0).ok());
  EXPECT_EQ(LookupAll(*table, {1}), value);
}

}  // namespace
}  // namespace monolith
