// SaveStripe: what saves write, applied in order, is the table.

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "monolith/native_training/runtime/hash_table/embedding_hash_table.h"
#include "monolith/native_training/runtime/hash_table/test_tables.h"

namespace monolith {
namespace {

using RowBatch = EmbeddingHashTable::RowBatch;
using SaveMode = EmbeddingHashTable::SaveMode;

struct Row {
  std::vector<float> floats;  // embedding, state
  uint32_t update_time;

  bool operator==(const Row& other) const {
    return floats == other.floats && update_time == other.update_time;
  }
};

// A table made of saves.
class Replica : public EmbeddingHashTable::StripeWriter {
 public:
  absl::Status WriteErased(absl::Span<const int64_t> ids) override {
    for (int64_t id : ids) rows_.erase(id);
    num_erased_ += ids.size();
    return absl::OkStatus();
  }
  absl::Status WriteTrials(const TrialBatch&) override {
    return absl::OkStatus();
  }
  absl::Status WriteRows(const RowBatch& rows) override {
    Put(rows, &rows_);
    num_rows_ += rows.ids.size();
    return absl::OkStatus();
  }

  void Save(EmbeddingHashTable& table, SaveMode mode) {
    if (mode != SaveMode::kChanges) rows_.clear();
    num_rows_ = num_erased_ = 0;
    for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
      ASSERT_TRUE(table.SaveStripe(stripe, mode, *this).ok());
    }
  }

  bool Equals(const EmbeddingHashTable& table) const {
    std::map<int64_t, Row> wanted;
    Put(ExportAll(table), &wanted);
    return rows_ == wanted;
  }

  // Of the last save.
  size_t num_rows() const { return num_rows_; }
  size_t num_erased() const { return num_erased_; }

 private:
  static void Put(const RowBatch& batch, std::map<int64_t, Row>* rows) {
    const size_t n = batch.ids.size();
    if (n == 0) return;
    const size_t dim = batch.embeddings.size() / n;
    const size_t state_dim = batch.states.size() / n;
    for (size_t i = 0; i < n; ++i) {
      Row row = {{}, batch.update_times[i]};
      for (size_t d = 0; d < dim; ++d) {
        row.floats.push_back(batch.embeddings[i * dim + d]);
      }
      for (size_t d = 0; d < state_dim; ++d) {
        row.floats.push_back(batch.states[i * state_dim + d]);
      }
      (*rows)[batch.ids[i]] = row;
    }
  }

  std::map<int64_t, Row> rows_;
  size_t num_rows_ = 0;
  size_t num_erased_ = 0;
};

std::unique_ptr<EmbeddingHashTable> AdagradTable() {
  TableConfig config = OneSegment(3, {"adagrad", {}});
  config.expire_time_days = 1;
  return MakeTable(config);
}

void Train(EmbeddingHashTable& table, const std::vector<int64_t>& ids,
           uint32_t time) {
  EmbeddingHashTable::UpdateOptions options;
  options.update_time = time;
  const std::vector<float> gradients(ids.size() * 3, 0.5f);
  ASSERT_TRUE(table.ApplyGradients(ids, gradients, options).ok());
}

TEST(SaveStripeTest, ChangesAreWhatWasTouchedSince) {
  auto table = AdagradTable();
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < 3000; ++id) ids.push_back(id);
  Train(*table, ids, 5);
  Replica replica;
  replica.Save(*table, SaveMode::kAll);
  EXPECT_EQ(replica.num_rows(), 3000u);
  EXPECT_TRUE(replica.Equals(*table));
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(replica.num_rows() + replica.num_erased(), 0u);

  Train(*table, {3, 3, 5000}, 6);
  std::vector<float> read(3);
  ASSERT_TRUE(table
                  ->Lookup({9}, EmbeddingHashTable::MissingId::kInitialValue,
                           absl::MakeSpan(read))
                  .ok());
  ASSERT_EQ(*table->Erase({4, 6000}), 1);
  Replica copy;  // A copy on the side takes nothing away.
  copy.Save(*table, SaveMode::kCopy);
  EXPECT_TRUE(copy.Equals(*table));
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(replica.num_rows(), 2u);
  EXPECT_EQ(replica.num_erased(), 1u);
  EXPECT_TRUE(replica.Equals(*table));

  EXPECT_EQ(table->Evict(5 + 86401), 2998);
  Train(*table, {7}, 90000);  // Back again.
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(replica.num_erased(), 2998u);
  EXPECT_EQ(replica.num_rows(), 1u);
  EXPECT_TRUE(replica.Equals(*table));
}

TEST(SaveStripeTest, RandomChangesAddUp) {
  for (uint32_t seed : {1, 2, 3}) {
    std::mt19937 random(seed);
    auto table = AdagradTable();
    Replica replica;
    replica.Save(*table, SaveMode::kAll);
    uint32_t now = 1000;
    for (int step = 0; step < 300; ++step) {
      std::vector<int64_t> ids(random() % 200);
      for (int64_t& id : ids) id = random() % (10 + 20 * step);
      now += random() % 3000;
      switch (random() % 4) {
        case 0:
          ASSERT_TRUE(table->Erase(ids).ok());
          break;
        case 1:
          table->Evict(now);
          break;
        default:
          Train(*table, ids, now);
      }
      if (random() % 5 != 0) continue;
      replica.Save(*table,
                   random() % 8 == 0 ? SaveMode::kAll : SaveMode::kChanges);
      ASSERT_TRUE(replica.Equals(*table)) << "step " << step;
    }
  }
}

// Saves beside training: whatever they miss of a change, the next one has.
TEST(SaveStripeTest, NothingIsLostBesideTraining) {
  auto table = AdagradTable();
  Replica replica;
  replica.Save(*table, SaveMode::kAll);
  std::atomic<bool> over{false};
  std::vector<std::thread> trainers;
  for (uint32_t t = 0; t < 2; ++t) {
    trainers.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int64_t step = 0; step < 400; ++step) {
        std::vector<int64_t> ids(100);
        for (int64_t& id : ids) id = random() % (100 + 50 * step);
        Train(*table, ids, 1);
        ids.resize(10);
        ASSERT_TRUE(table->Erase(ids).ok());
      }
    });
  }
  std::thread ending([&] {
    for (std::thread& trainer : trainers) trainer.join();
    over = true;
  });
  int saves = 0;
  while (!over) {
    replica.Save(*table, SaveMode::kChanges);
    ++saves;
  }
  ending.join();
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_GT(saves, 1);
  EXPECT_GT(table->size(), 1000);
  EXPECT_TRUE(replica.Equals(*table));
}

TEST(SaveStripeTest, ClearForgetsChanges) {
  auto table = AdagradTable();
  Replica replica;
  replica.Save(*table, SaveMode::kAll);
  Train(*table, {1, 2}, 1);
  ASSERT_EQ(*table->Erase({1}), 1);
  table->Clear();
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_EQ(replica.num_rows() + replica.num_erased(), 0u);
}

TEST(SaveStripeTest, AnErrorEndsASave) {
  class Full : public Replica {
    absl::Status WriteRows(const RowBatch&) override {
      return absl::ResourceExhaustedError("the disk is full");
    }
  } full;
  auto table = AdagradTable();
  Train(*table, {1}, 1);
  int failures = 0;
  for (int stripe = 0; stripe < table->num_stripes(); ++stripe) {
    failures += !table->SaveStripe(stripe, SaveMode::kAll, full).ok();
  }
  EXPECT_EQ(failures, 1);
  EXPECT_FALSE(table->SaveStripe(64, SaveMode::kAll, full).ok());
}

}  // namespace
}  // namespace monolith
