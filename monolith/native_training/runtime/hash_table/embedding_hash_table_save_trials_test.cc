// SaveStripe: ids on trial, and what is kept of those that are erased.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

using RowBatch = EmbeddingHashTable::RowBatch;
using SaveMode = EmbeddingHashTable::SaveMode;

constexpr int kThreshold = 4;

TableConfig Config(int threshold = kThreshold) {
  TableConfig config = OneSegment(1, {"sgd", {}});
  config.occurrence_threshold = threshold;
  config.admission_capacity = 100000;
  return config;
}

void Occur(EmbeddingHashTable& table, const std::vector<int64_t>& ids) {
  const std::vector<float> gradients(ids.size(), 0.5f);
  ASSERT_TRUE(table.ApplyGradients(ids, gradients, {}).ok());
}

std::set<int64_t> IdsWithRow(const EmbeddingHashTable& table) {
  const RowBatch rows = ExportAll(table);
  return {rows.ids.begin(), rows.ids.end()};
}

// Applies saves to another table, as who restores them does.
class Restored : public EmbeddingHashTable::StripeWriter {
 public:
  explicit Restored(const TableConfig& config) : table_(MakeTable(config)) {}

  absl::Status WriteErased(absl::Span<const int64_t> ids) override {
    num_erased_ += ids.size();
    largest_batch_ = std::max(largest_batch_, ids.size());
    EXPECT_TRUE(table_->Erase(ids).ok());
    if (after_erased_) std::exchange(after_erased_, nullptr)();
    return table_->EndTrials(ids);
  }
  absl::Status WriteTrials(const TrialBatch& trials) override {
    num_trials_ += trials.trials.size();
    largest_batch_ = std::max(largest_batch_, trials.trials.size());
    EXPECT_TRUE(*table_->ImportTrials(stripe_, trials));
    if (between_) std::exchange(between_, nullptr)();
    return absl::OkStatus();
  }
  absl::Status WriteRows(const RowBatch& rows) override {
    num_rows_ += rows.ids.size();
    absl::Status status = table_->EndTrials(rows.ids);
    if (!status.ok()) return status;
    return table_->ImportRows(rows.ids, rows.embeddings, rows.states,
                              rows.update_times);
  }

  void Save(EmbeddingHashTable& table, SaveMode mode) {
    if (mode != SaveMode::kChanges) table_->Clear();
    num_rows_ = num_trials_ = num_erased_ = 0;
    for (stripe_ = 0; stripe_ < table.num_stripes(); ++stripe_) {
      ASSERT_TRUE(table.SaveStripe(stripe_, mode, *this).ok());
    }
  }

  EmbeddingHashTable& table() { return *table_; }
  // Of the last save.
  size_t num_rows() const { return num_rows_; }
  size_t num_trials() const { return num_trials_; }
  size_t num_erased() const { return num_erased_; }
  size_t largest_batch() const { return largest_batch_; }
  // Is called once, while a save goes on.
  void Between(std::function<void()> between) { between_ = std::move(between); }
  void AfterErased(std::function<void()> after) {
    after_erased_ = std::move(after);
  }

 private:
  const std::unique_ptr<EmbeddingHashTable> table_;
  int stripe_ = 0;
  size_t num_rows_ = 0;
  size_t num_trials_ = 0;
  size_t num_erased_ = 0;
  size_t largest_batch_ = 0;
  std::function<void()> between_;
  std::function<void()> after_erased_;
};

std::vector<int64_t> Ids(int64_t begin, int64_t end) {
  std::vector<int64_t> ids;
  for (int64_t id = begin; id < end; ++id) ids.push_back(id);
  return ids;
}

TEST(SaveTrialsTest, ChangesHaveTheTrialsThatOccurredSince) {
  auto table = MakeTable(Config());
  Restored restored(Config());
  Occur(*table, Ids(0, 50000));
  restored.Save(*table, SaveMode::kAll);
  EXPECT_EQ(restored.num_trials(), 50000u);
  restored.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(restored.num_trials() + restored.num_rows(), 0u);
  Occur(*table, Ids(49900, 50100));
  Restored copy(Config());  // A copy on the side takes nothing away.
  copy.Save(*table, SaveMode::kCopy);
  EXPECT_EQ(copy.num_trials(), 50100u);
  restored.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(restored.num_trials(), 200u);
  EXPECT_EQ(restored.num_rows(), 0u);
}

// Ids occur, get rows and lose them; at the end each has to be admitted at the
// same occurrence as in the table itself.
TEST(SaveTrialsTest, WhatWasSavedCountsOnAsItWas) {
  for (uint32_t seed : {1, 2, 3}) {
    std::mt19937 random(seed);
    auto table = MakeTable(Config());
    Restored restored(Config());
    restored.Save(*table, SaveMode::kAll);
    for (int step = 0; step < 200; ++step) {
      std::vector<int64_t> ids(random() % 200);
      for (int64_t& id : ids) id = random() % 3000;
      if (random() % 4 == 0) {
        ASSERT_TRUE(table->Erase(ids).ok());
      } else {
        Occur(*table, ids);
      }
      if (random() % 10 == 0) {
        restored.Save(*table,
                      random() % 4 == 0 ? SaveMode::kAll : SaveMode::kChanges);
      }
    }
    restored.Save(*table, SaveMode::kChanges);
    EXPECT_GT(table->size(), 100);
    EXPECT_LT(table->size(), 2900);
    for (int occurrence = 0; occurrence < kThreshold; ++occurrence) {
      ASSERT_EQ(IdsWithRow(restored.table()), IdsWithRow(*table));
      Occur(*table, Ids(0, 3000));
      Occur(restored.table(), Ids(0, 3000));
    }
    EXPECT_EQ(table->size(), 3000);
    EXPECT_EQ(restored.table().size(), 3000);
  }
}

TEST(SaveTrialsTest, OnesAdmittedWhileTheyAreSavedAreThereAsRows) {
  auto table = MakeTable(Config());
  for (int i = 1; i < kThreshold; ++i) Occur(*table, Ids(0, 2000));
  Restored restored(Config());
  restored.Between([&] { Occur(*table, Ids(0, 2000)); });
  restored.Save(*table, SaveMode::kAll);
  Occur(restored.table(), Ids(0, 2000));
  EXPECT_EQ(restored.table().size(), 2000);
}

TEST(SaveTrialsTest, OnesThatLoseTheirRowAndBeginAgainMeanwhileCount) {
  auto table = MakeTable(Config());
  Restored restored(Config());
  for (int i = 0; i < kThreshold; ++i) Occur(*table, Ids(0, 2000));
  restored.Save(*table, SaveMode::kAll);
  ASSERT_EQ(*table->Erase(Ids(0, 100)), 100);
  restored.AfterErased([&] {
    ASSERT_EQ(*table->Erase(Ids(100, 2000)), 1900);
    Occur(*table, Ids(0, 2000));
  });
  restored.Save(*table, SaveMode::kChanges);
  // Of the stripe that was being saved the trials may be the next save's.
  EXPECT_LT(restored.table().size(), 40);
  restored.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(restored.table().size(), 0);
  for (int i = 1; i < kThreshold; ++i) Occur(restored.table(), Ids(0, 2000));
  EXPECT_EQ(restored.table().size(), 2000);
}

// Nobody waits for all ids of a stripe to be copied or looked up.
TEST(SaveTrialsTest, LongListsAreSavedInParts) {
  TableConfig config = Config();
  config.admission_capacity = 2000000;
  auto table = MakeTable(config);
  Restored restored(config);
  Occur(*table, Ids(0, 600000));  // 9,000 a stripe
  restored.Save(*table, SaveMode::kAll);
  EXPECT_GT(restored.num_trials(), 599900u);  // Two may be taken for one.
  EXPECT_LT(restored.largest_batch(), 6145u);

  auto without = MakeTable(Config(0));
  Restored rows(Config(0));
  Occur(*without, Ids(0, 1200000));
  rows.Save(*without, SaveMode::kAll);
  ASSERT_EQ(*without->Erase(Ids(0, 360000)), 360000);  // 5,600 a stripe
  rows.Save(*without, SaveMode::kChanges);
  EXPECT_EQ(rows.num_erased(), 360000u);
  EXPECT_LT(rows.largest_batch(), 4097u);
  EXPECT_EQ(rows.table().size(), 840000);
}

TEST(SaveTrialsTest, OfTooManyErasedIdsAllRowsAreDue) {
  constexpr int64_t kIds = 200000;
  auto table = MakeTable(Config(0));
  Restored restored(Config(0));
  restored.Save(*table, SaveMode::kAll);
  Occur(*table, Ids(0, kIds));
  restored.Save(*table, SaveMode::kChanges);
  const int64_t least = table->memory_bytes();
  int64_t most = 0;
  // What is kept of them while nobody saves stays within a few bytes a row.
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(*table->Erase(Ids(0, kIds / 10)), kIds / 10);
    Occur(*table, Ids(0, kIds / 10));
    most = std::max(most, table->memory_bytes());
  }
  EXPECT_LT(most - least, kIds * 16);
  EXPECT_FALSE(table->KnowsChanges());
  int refused = 0;
  for (int stripe = 0; stripe < table->num_stripes(); ++stripe) {
    absl::Status status =
        table->SaveStripe(stripe, SaveMode::kChanges, restored);
    refused += absl::IsFailedPrecondition(status);
  }
  EXPECT_EQ(refused, table->num_stripes());
  const int64_t bytes = table->memory_bytes();
  restored.Save(*table, SaveMode::kAll);
  EXPECT_TRUE(table->KnowsChanges());
  EXPECT_EQ(table->memory_bytes(), bytes) << "none was kept any more";
  ASSERT_EQ(*table->Erase(Ids(0, 100)), 100);
  restored.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(restored.num_erased(), 100u);
  EXPECT_EQ(restored.table().size(), table->size());

  ASSERT_EQ(*table->Erase(Ids(100, kIds)), kIds - 100);
  EXPECT_FALSE(table->KnowsChanges());
  table->Clear();
  EXPECT_TRUE(table->KnowsChanges());
}

}  // namespace
}  // namespace monolith
