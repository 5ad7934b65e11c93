// SaveStripe: what saves write, applied in order, is the table.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <utility>
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

using Rows = std::map<int64_t, Row>;

void Put(const RowBatch& batch, Rows* rows) {
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

Rows RowsOf(const EmbeddingHashTable& table) {
  Rows rows;
  Put(ExportAll(table), &rows);
  return rows;
}

// A table made of saves.
class Replica : public EmbeddingHashTable::StripeWriter {
 public:
  absl::Status WriteErased(absl::Span<const int64_t> ids) override {
    for (int64_t id : ids) rows_.erase(id);
    num_erased_ += ids.size();
    Meddle();
    return absl::OkStatus();
  }
  absl::Status WriteTrials(const TrialBatch&) override {
    return absl::OkStatus();
  }
  absl::Status WriteRows(const RowBatch& rows) override {
    Put(rows, &rows_);
    num_rows_ += rows.ids.size();
    Meddle();
    return absl::OkStatus();
  }

  void Save(EmbeddingHashTable& table, SaveMode mode) {
    if (mode != SaveMode::kChanges) rows_.clear();
    num_rows_ = num_erased_ = 0;
    for (int stripe = 0; stripe < table.num_stripes(); ++stripe) {
      const absl::Status status = table.SaveStripe(stripe, mode, *this);
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  bool Equals(const EmbeddingHashTable& table) const {
    return rows_ == RowsOf(table);
  }

  const Rows& rows() const { return rows_; }

  // Is called whenever a save has written something.
  void Between(std::function<void()> between) { between_ = std::move(between); }

  // Of the last save.
  size_t num_rows() const { return num_rows_; }
  size_t num_erased() const { return num_erased_; }

 private:
  void Meddle() {
    if (between_) between_();
  }

  Rows rows_;
  size_t num_rows_ = 0;
  size_t num_erased_ = 0;
  std::function<void()> between_;
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
  EXPECT_EQ(replica.num_erased(), 2998u);  // 7 too, before its row.
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

// Other threads train and erase whenever a save has written something. Each row
// of it has to be as it was at some moment of the save, or be missing as it
// was.
TEST(SaveStripeTest, EachSaveHasRowsOfItsOwnTime) {
  constexpr int64_t kIds = 200;
  using State = std::optional<uint32_t>;  // The update time of a row.
  const auto state_of = [](const Rows& rows, int64_t id) {
    const auto found = rows.find(id);
    return found == rows.end() ? State() : State(found->second.update_time);
  };
  for (uint32_t seed : {1, 2, 3}) {
    std::mt19937 random(seed);
    auto table = AdagradTable();
    uint32_t now = 0;
    const auto change = [&] {
      std::vector<int64_t> ids(1 + random() % 40);
      for (int64_t& id : ids) id = random() % kIds;
      if (random() % 2 == 0) {
        Train(*table, ids, ++now);
      } else {
        ASSERT_TRUE(table->Erase(ids).ok());
      }
    };
    Replica replica;
    replica.Save(*table, SaveMode::kAll);
    for (int save = 0; save < 30; ++save) {
      for (int i = 0; i < 5; ++i) change();
      std::vector<std::set<State>> states(kIds);
      const auto note = [&] {
        const Rows rows = RowsOf(*table);
        for (int64_t id = 0; id < kIds; ++id) {
          states[id].insert(state_of(rows, id));
        }
      };
      note();
      replica.Between([&] {
        change();
        note();
      });
      replica.Save(*table,
                   save % 10 == 9 ? SaveMode::kAll : SaveMode::kChanges);
      for (int64_t id = 0; id < kIds; ++id) {
        ASSERT_EQ(states[id].count(state_of(replica.rows(), id)), 1u)
            << "id " << id << ", save " << save;
      }
    }
    replica.Between(nullptr);
    replica.Save(*table, SaveMode::kChanges);
    EXPECT_GT(replica.rows().size(), 50u);
    EXPECT_TRUE(replica.Equals(*table));
  }
}

// So many that a stripe is copied in several goes.
constexpr int64_t kManyRows = 300000;

std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> ids(static_cast<size_t>(end - begin));
  std::iota(ids.begin(), ids.end(), begin);
  return ids;
}

TEST(SaveStripeTest, WhatComesBackWhileItIsSavedStays) {
  auto table = AdagradTable();
  Train(*table, Range(0, kManyRows), 1);
  Replica replica;
  int64_t begin = 0;
  replica.Save(*table, SaveMode::kAll);
  for (const SaveMode mode : {SaveMode::kChanges, SaveMode::kAll}) {
    Train(*table, Range(0, kManyRows), 2);
    replica.Between([&] {
      const std::vector<int64_t> ids = Range(begin, begin + 100);
      begin += 100;
      ASSERT_TRUE(table->Erase(ids).ok());
      Train(*table, ids, 3);
    });
    replica.Save(*table, mode);
    replica.Between(nullptr);
    replica.Save(*table, SaveMode::kChanges);
    EXPECT_TRUE(replica.Equals(*table));
  }
  EXPECT_GT(begin, 20000);
  EXPECT_LT(begin, kManyRows);
}

// A moment of the test, to tell what may have been before what.
class Moments {
 public:
  int64_t Next() { return next_++; }

 private:
  std::atomic<int64_t> next_{1};
};

// What a thread has made of one id, and when. It was so from some moment
// between `begin` and `end` until one between those of the next.
struct Past {
  uint32_t update_time;  // 0: no row
  int64_t begin;
  int64_t end;
};

// Saves beside training have each row as it was while they ran, and whatever
// they miss of a change, the next one has.
TEST(SaveStripeTest, NothingIsLostBesideTraining) {
  constexpr int kTrainers = 2;
  auto table = AdagradTable();
  Train(*table, Range(-kManyRows, 0), 1);
  Moments moments;
  std::atomic<int> running{kTrainers};
  std::atomic<int> saves{0};
  std::map<int64_t, std::vector<Past>> pasts[kTrainers];
  std::vector<std::thread> trainers;
  for (uint32_t t = 0; t < kTrainers; ++t) {
    trainers.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int64_t step = 0; step < 400 || saves < 3; ++step) {
        // Lest half of all ids be erased beside one save.
        while (step >= 1000 * (saves + 1)) std::this_thread::yield();
        std::vector<int64_t> ids(100);
        for (int64_t& id : ids) {
          id = kTrainers *
                   (random() % (50 + 25 * std::min(step, int64_t{400}))) +
               t;
        }
        const auto time = static_cast<uint32_t>(step + 1);
        const int64_t begin = moments.Next();
        Train(*table, ids, time);
        const int64_t trained = moments.Next();
        for (int64_t id : ids) pasts[t][id].push_back({time, begin, trained});
        ids.resize(10);
        ASSERT_TRUE(table->Erase(ids).ok());
        const int64_t erased = moments.Next();
        for (int64_t id : ids) pasts[t][id].push_back({0, trained, erased});
      }
      --running;
    });
  }
  struct Saved {
    int64_t begin;
    int64_t end;
    std::map<int64_t, uint32_t> update_times;
  };
  std::vector<Saved> saved;
  Replica replica;
  while (running > 0) {
    Saved save = {moments.Next(), 0, {}};
    replica.Save(*table, saves == 0 ? SaveMode::kAll : SaveMode::kChanges);
    save.end = moments.Next();
    const Rows& rows = replica.rows();
    for (auto row = rows.lower_bound(0); row != rows.end(); ++row) {
      save.update_times[row->first] = row->second.update_time;
    }
    saved.push_back(std::move(save));
    ++saves;
  }
  for (std::thread& trainer : trainers) trainer.join();
  for (const Saved& save : saved) {
    for (int t = 0; t < kTrainers; ++t) {
      for (const auto& [id, past] : pasts[t]) {
        const auto found = save.update_times.find(id);
        const uint32_t got =
            found == save.update_times.end() ? 0 : found->second;
        bool may_be = got == 0 && past.front().end >= save.begin;
        for (size_t i = 0; i < past.size() && !may_be; ++i) {
          may_be = past[i].update_time == got && past[i].begin <= save.end &&
                   (i + 1 == past.size() || past[i + 1].end >= save.begin);
        }
        ASSERT_TRUE(may_be) << "id " << id << " of " << got << ", save "
                            << save.begin << " .. " << save.end;
      }
    }
  }
  replica.Save(*table, SaveMode::kChanges);
  EXPECT_GT(table->size(), kManyRows + 1000);
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
